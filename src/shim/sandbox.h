// SPDX-License-Identifier: Apache-2.0
//
// The sandbox service (containerd.runtime.sandbox.v1) of a shim that was started for a sandbox: it
// holds the sandbox's network namespace and its state, and ends its containers with it. There is no
// pause container: the sandbox's process is the shim. The loop's thread.
//
//   CreateSandbox ──► created ──StartSandbox──► ready ──StopSandbox──► stopped
//                        └────────────────StopSandbox────────────────────┘
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/event_loop.h"
#include "base/unique_fd.h"
#include "containerd/runtime/sandbox/v1/sandbox.plain.h"
#include "shim/arguments.h"
#include "shim/task_service.h"
#include "wire/ttrpc.h"

namespace gantry::shim {

namespace sandbox = plain::containerd::runtime::sandbox::v1;

inline constexpr std::string_view kSandboxService = "containerd.runtime.sandbox.v1.Sandbox";

class SandboxService {
 public:
  // `on_shutdown(answer)` runs when the shim may end; it calls `answer` before it does.
  SandboxService(EventLoop* loop, TaskService* tasks, Arguments arguments,
                 std::function<void(std::function<void()> answer)> on_shutdown);

  void Handle(const wire::TtrpcCall& call);
  // There is a sandbox, so the shim must stay.
  bool exists() const { return state_ != State::kNone && !shut_down_; }
  // The shim ends with the last of its containers.
  bool shut_down() const { return shut_down_; }

 private:
  enum class State { kNone, kCreated, kReady, kStopped };
  using StopDone = std::function<void(Result<>)>;

  Result<> CheckId(const std::string& id) const;
  Result<sandbox::CreateSandboxResponse> Create(const sandbox::CreateSandboxRequest& request);
  Result<sandbox::StartSandboxResponse> Start(const sandbox::StartSandboxRequest& request);
  Result<sandbox::PlatformResponse> Platform(const sandbox::PlatformRequest& request);
  Result<sandbox::SandboxStatusResponse> Status(const sandbox::SandboxStatusRequest& request);
  Result<sandbox::SandboxMetricsResponse> Metrics(const sandbox::SandboxMetricsRequest& request);
  void Stop(std::chrono::seconds timeout, StopDone done);
  void Stopped();
  void Wait(const wire::TtrpcCall& call);
  void Shutdown(const wire::TtrpcCall& call);
  sandbox::WaitSandboxResponse Exit() const;

  EventLoop* loop_;
  TaskService* tasks_;
  const Arguments arguments_;
  const std::function<void(std::function<void()> answer)> on_shutdown_;
  State state_ = State::kNone;
  bool shut_down_ = false;
  UniqueFd network_namespace_;
  std::string network_namespace_path_;
  WallTime created_at_{};
  WallTime exited_at_{};
  std::vector<wire::TtrpcCall> waiting_;
};

}  // namespace gantry::shim
