// SPDX-License-Identifier: Apache-2.0
#include "buildkit/uploads.h"

#include "base/clock.h"
#include "wire/worker_pool.h"

namespace gantry::buildkit {

Result<> Uploads::Offer(const std::string& id, ByteSource& body, std::chrono::milliseconds bound) {
  wire::WorkerPool::Blocked blocked;
  auto deadline = SteadyClock::now() + bound;
  MutexLock lock(mutex_);
  auto [upload, is_new] = uploads_.try_emplace(id, Upload{&body});
  if (!is_new) return AlreadyExists("upload {} exists already", id);
  changed_.NotifyAll();
  while (upload->second.step != Step::kDone) {
    auto left = deadline - SteadyClock::now();
    if (upload->second.step == Step::kTaken) {
      changed_.Wait(mutex_);
    } else if (left > left.zero()) {
      (void)changed_.WaitFor(mutex_, left);
    } else {
      uploads_.erase(upload);
      return NotFound("no build has come for upload {}", id);
    }
  }
  uploads_.erase(upload);
  return {};
}

Result<Uploads::Taken> Uploads::Take(const std::string& id, std::chrono::milliseconds bound) {
  wire::WorkerPool::Blocked blocked;
  auto deadline = SteadyClock::now() + bound;
  MutexLock lock(mutex_);
  for (;;) {
    auto found = uploads_.find(id);
    if (found != uploads_.end() && found->second.step == Step::kOffered) {
      found->second.step = Step::kTaken;
      Taken taken;
      taken.body = found->second.body;
      taken.done.Push([this, id] { Done(id); });
      return taken;
    }
    auto left = deadline - SteadyClock::now();
    if (left <= left.zero()) return NotFound("the context of upload {} has not come", id);
    (void)changed_.WaitFor(mutex_, left);
  }
}

void Uploads::Done(const std::string& id) {
  MutexLock lock(mutex_);
  uploads_[id].step = Step::kDone;
  changed_.NotifyAll();
}

}  // namespace gantry::buildkit
