// SPDX-License-Identifier: Apache-2.0
#include "build/builds.h"

#include <utility>

#include "base/undo.h"
#include "build/builder.h"

namespace gantry::build {

Result<BuildEnd> Builds::Run(const std::string& id, BuildRequest request, ByteSource& body,
                             const BuildOutput& output, StopSource& stop) {
  Undo forget;
  if (!id.empty()) {
    MutexLock lock(mutex_);
    auto at = running_.emplace(id, &stop);
    forget.Push([this, at] {
      MutexLock inner(mutex_);
      running_.erase(at);
    });
  }
  ++begun_;
  auto built = Build(engine_, cache_, std::move(request), body, output, stop.token());
  if (!built.ok() && built.error().kind() == ErrorKind::kCancelled) {
    ++cancelled_;
  } else if (!built.ok() || !built->failure.empty()) {
    ++failed_;
  }
  return built;
}

void Builds::Cancel(const std::string& id) {
  MutexLock lock(mutex_);
  auto [begin, end] = running_.equal_range(id);
  for (auto at = begin; at != end; ++at) at->second->RequestStop();
}

}  // namespace gantry::build
