// SPDX-License-Identifier: Apache-2.0
#include "shim/group.h"

#include <memory>
#include <optional>

#include "containerd/task/v3/shim.plain.h"
#include "wire/ttrpc.h"

namespace gantry::shim {
namespace {

using namespace std::chrono_literals;

// A shim that starts a log program may not answer for 10 s (shim/log_program.cc).
constexpr auto kJoinTime = 15s;

}  // namespace

Result<> JoinGroup(const std::string& socket_path, const std::string& id) {
  std::unique_ptr<EventLoop> loop = TRY(EventLoop::Create());
  auto client = TRY(wire::TtrpcClient::Connect(loop.get(), socket_path, [] {}));
  plain::containerd::task::v3::ConnectRequest request;
  request.id = id;
  std::optional<Result<std::string>> answer;
  client->CallAsync(kGroupService, "Join", request.Encode(), kJoinTime,
                    [&](Result<std::string> result) {
                      answer = std::move(result);
                      loop->Stop();
                    });
  TRY(loop->Run());
  // A shim of a version before this service, which stays by luck.
  if (!answer->ok() && answer->error().kind() == ErrorKind::kUnimplemented) return {};
  TRY(std::move(*answer));
  return {};
}

void AwaitedMembers::Add(const std::string& id) {
  Remove(id);
  timers_[id] = loop_->After(patience_, [this, id] {
    timers_.erase(id);
    on_expired_();
  });
}

void AwaitedMembers::Remove(const std::string& id) {
  auto found = timers_.find(id);
  if (found == timers_.end()) return;
  loop_->CancelTimer(found->second);
  timers_.erase(found);
}

}  // namespace gantry::shim
