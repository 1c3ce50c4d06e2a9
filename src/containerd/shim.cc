// SPDX-License-Identifier: Apache-2.0
#include "containerd/shim.h"

#include "base/io.h"
#include "base/log.h"

namespace gantry::containerd {
namespace {

constexpr size_t kLogChunk = 4096;

// Text that is not UTF-8 or has control characters comes out readable all the same.
void LogLines(const std::string& id, std::string_view text) {
  while (!text.empty()) {
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    if (!line.empty()) log::Debug("shim {}: {}", id, line);
  }
}

}  // namespace

Result<std::shared_ptr<Shim>> Shim::Connect(EventLoop* loop, const std::string& ns,
                                            const std::string& id, Bundle bundle,
                                            const ShimEndpoint& endpoint, ShimUse use,
                                            std::function<void()> on_close) {
  std::shared_ptr<Shim> shim(new Shim(loop, ns, id, std::move(bundle), endpoint, use));
  shim->client_ = TRY_WITH(wire::TtrpcClient::Connect(loop, endpoint.address, std::move(on_close),
                                                      {{"containerd-namespace-ttrpc", ns}}),
                           "connecting to the shim of {}", id);
  return shim;
}

Shim::~Shim() {
  if (log_ == nullptr) return;
  loop_->Post([loop = loop_, log = log_] { loop->Unwatch(*log); });
}

void Shim::FollowLog(UniqueFd log) {
  log_ = std::make_shared<UniqueFd>(std::move(log));
  loop_->Post([loop = loop_, log = log_, id = id_] {
    auto watched = loop->Watch(*log, EPOLLIN, [log = log.get(), id](uint32_t) {
      char buffer[kLogChunk];
      auto count = ReadSome(*log, buffer, sizeof buffer);
      if (count.ok()) LogLines(id, {buffer, *count});
    });
    if (!watched.ok()) log::Warning("reading the shim's log: {}", watched.error().message());
  });
}

void Shim::Bury(const TaskEnd& end) {
  std::vector<std::function<void(const TaskEnd&)>> mourners;
  {
    MutexLock lock(mutex_);
    end_ = end;
    mourners.swap(mourners_);
  }
  for (auto& mourner : mourners) mourner(end);
}

void Shim::WhenBuried(std::function<void(const TaskEnd&)> callback) {
  std::optional<TaskEnd> end;
  {
    MutexLock lock(mutex_);
    if (!end_.has_value()) {
      mourners_.push_back(std::move(callback));
      return;
    }
    end = end_;
  }
  callback(*end);
}

}  // namespace gantry::containerd
