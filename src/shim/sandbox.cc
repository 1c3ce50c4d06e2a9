// SPDX-License-Identifier: Apache-2.0
#include "shim/sandbox.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/nsfs.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <memory>

#include "base/io.h"
#include "base/log.h"
#include "oci/image_spec.h"
#include "shim/metrics.h"

namespace gantry::shim {
namespace {

// States as Kubernetes names them, which containerd's clients show.
constexpr std::string_view kReadyState = "SANDBOX_READY";
constexpr std::string_view kNotReadyState = "SANDBOX_NOTREADY";

// An open descriptor keeps the namespace, whatever happens to its path.
Result<UniqueFd> HoldNetworkNamespace(const std::string& path) {
  UniqueFd fd = TRY(OpenFile(path, O_RDONLY));
  struct statfs status{};
  if (::fstatfs(fd.get(), &status) != 0) return ErrnoError("looking at '{}'", path);
  if (status.f_type != NSFS_MAGIC || ::ioctl(fd.get(), NS_GET_NSTYPE) != CLONE_NEWNET) {
    return InvalidArgument("'{}' is no network namespace", path);
  }
  return fd;
}

template <typename Request, typename F>
void AnswerSandbox(const wire::TtrpcCall& call, F&& handle) {
  Result<Request> request = Request::Decode(call.payload());
  if (!request.ok()) return call.Reply(std::move(request).error());
  auto response = handle(*request);
  if (!response.ok()) return call.Reply(std::move(response).error());
  call.Reply(formats::ProtoEncode(*response));
}

}  // namespace

SandboxService::SandboxService(EventLoop* loop, TaskService* tasks, Arguments arguments,
                               std::function<void(std::function<void()> answer)> on_shutdown)
    : loop_(loop),
      tasks_(tasks),
      arguments_(std::move(arguments)),
      on_shutdown_(std::move(on_shutdown)) {}

void SandboxService::Handle(const wire::TtrpcCall& call) {
  const std::string& method = call.method();
  log::Debug("{}", method);
  if (method == "CreateSandbox") {
    return AnswerSandbox<sandbox::CreateSandboxRequest>(
        call, [&](const auto& request) { return Create(request); });
  }
  // Every other message begins with the id.
  Result<sandbox::PingRequest> id = sandbox::PingRequest::Decode(call.payload());
  if (!id.ok()) return call.Reply(std::move(id).error());
  // Also of a sandbox that could not be created, so that its shim ends; not of a task's shim.
  if (method == "ShutdownSandbox" && id->sandbox_id == arguments_.id &&
      (state_ != State::kNone || tasks_->Present().empty())) {
    return Shutdown(call);
  }
  if (Result<> known = CheckId(id->sandbox_id); !known.ok()) {
    return call.Reply(std::move(known).error());
  }
  if (method == "StartSandbox") {
    return AnswerSandbox<sandbox::StartSandboxRequest>(
        call, [&](const auto& request) { return Start(request); });
  }
  if (method == "Platform") {
    return AnswerSandbox<sandbox::PlatformRequest>(
        call, [&](const auto& request) { return Platform(request); });
  }
  if (method == "SandboxStatus") {
    return AnswerSandbox<sandbox::SandboxStatusRequest>(
        call, [&](const auto& request) { return Status(request); });
  }
  if (method == "SandboxMetrics") {
    return AnswerSandbox<sandbox::SandboxMetricsRequest>(
        call, [&](const auto& request) { return Metrics(request); });
  }
  if (method == "PingSandbox") return call.Reply(std::string());
  if (method == "WaitSandbox") return Wait(call);
  if (method == "StopSandbox") {
    auto request = sandbox::StopSandboxRequest::Decode(call.payload());
    if (!request.ok()) return call.Reply(std::move(request).error());
    return Stop(std::chrono::seconds(request->timeout_secs), [call](Result<> stopped) {
      if (!stopped.ok()) return call.Reply(std::move(stopped).error());
      call.Reply(std::string());
    });
  }
  call.Reply(Unimplemented("method '{}' of '{}'", method, call.service()));
}

Result<> SandboxService::CheckId(const std::string& id) const {
  if (state_ != State::kNone && id == arguments_.id) return {};
  return NotFound("sandbox '{}' not found", id);
}

Result<sandbox::CreateSandboxResponse> SandboxService::Create(
    const sandbox::CreateSandboxRequest& request) {
  if (request.sandbox_id != arguments_.id) {
    return InvalidArgument("creating sandbox '{}': this shim is that of '{}'", request.sandbox_id,
                           arguments_.id);
  }
  if (state_ != State::kNone) {
    return AlreadyExists("creating sandbox '{}': it exists", request.sandbox_id);
  }
  if (!request.rootfs.empty()) {
    return Unimplemented("creating sandbox '{}': it has no process that could use a root",
                         request.sandbox_id);
  }
  if (!request.netns_path.empty()) {
    network_namespace_ = TRY_WITH(HoldNetworkNamespace(request.netns_path), "creating sandbox '{}'",
                                  request.sandbox_id);
    network_namespace_path_ = request.netns_path;
  }
  created_at_ = WallClock::now();
  state_ = State::kCreated;
  return sandbox::CreateSandboxResponse{};
}

Result<sandbox::StartSandboxResponse> SandboxService::Start(
    const sandbox::StartSandboxRequest& request) {
  if (state_ != State::kCreated) {
    return FailedPrecondition("starting sandbox '{}': it is {}", request.sandbox_id,
                              state_ == State::kReady ? "started already" : "stopped");
  }
  state_ = State::kReady;
  sandbox::StartSandboxResponse response;
  response.pid = static_cast<uint32_t>(::getpid());
  response.created_at = formats::ProtoTimestamp::From(created_at_);
  return response;
}

Result<sandbox::PlatformResponse> SandboxService::Platform(const sandbox::PlatformRequest&) {
  auto host = oci::HostPlatform();
  sandbox::PlatformResponse response;
  response.platform.emplace();
  response.platform->os = host.os;
  response.platform->architecture = host.architecture;
  response.platform->variant = host.variant;
  return response;
}

Result<sandbox::SandboxStatusResponse> SandboxService::Status(
    const sandbox::SandboxStatusRequest& request) {
  sandbox::SandboxStatusResponse response;
  response.sandbox_id = arguments_.id;
  response.state = state_ == State::kReady ? kReadyState : kNotReadyState;
  response.created_at = formats::ProtoTimestamp::From(created_at_);
  if (state_ == State::kReady) response.pid = static_cast<uint32_t>(::getpid());
  if (state_ == State::kStopped) response.exited_at = formats::ProtoTimestamp::From(exited_at_);
  if (request.verbose) {
    response.info["shimPid"] = std::to_string(::getpid());
    response.info["networkNamespace"] = network_namespace_path_;
    response.info["containerPid"] = std::to_string(tasks_->first().init_pid());
  }
  return response;
}

// Of the container where there is one, else of the shim itself.
Result<sandbox::SandboxMetricsResponse> SandboxService::Metrics(
    const sandbox::SandboxMetricsRequest&) {
  pid_t pid = tasks_->first().init_pid() > 0 ? tasks_->first().init_pid() : ::getpid();
  auto cgroup = TRY(kernel::CgroupPathsOfProcess(pid));
  sandbox::SandboxMetricsResponse response;
  response.metrics.emplace();
  response.metrics->id = arguments_.id;
  response.metrics->timestamp = formats::ProtoTimestamp::From(WallClock::now());
  response.metrics->data = TRY(ReadMetrics(cgroup));
  return response;
}

void SandboxService::Stop(std::chrono::seconds timeout, StopDone done) {
  std::vector<Container*> running = tasks_->Present();
  if (running.empty()) {
    Stopped();
    return done({});
  }
  // SIGTERM first, and SIGKILL when the time is up; without a time at once. One that is deleted
  // meanwhile answers that it is not there.
  auto kill = [this](int signal) {
    for (Container* container : tasks_->Present()) {
      task::KillRequest request;
      request.id = container->id();
      request.signal = static_cast<uint32_t>(signal);
      request.all = true;
      container->Kill(request, [](Result<formats::ProtoEmpty> killed) {
        // One that has just ended is what was asked for.
        if (!killed.ok()) log::Debug("stopping the sandbox: {}", killed.error().message());
      });
    }
  };
  auto timer = std::make_shared<EventLoop::TimerId>(0);
  auto left = std::make_shared<size_t>(running.size());
  if (timeout.count() > 0) {
    kill(SIGTERM);
    *timer = loop_->After(timeout, [kill] { kill(SIGKILL); });
  } else {
    kill(SIGKILL);
  }
  for (Container* container : running) {
    task::WaitRequest request;
    request.id = container->id();
    container->Wait(request, [this, timer, left, done](const Result<task::WaitResponse>& end) {
      if (!end.ok()) log::Debug("stopping the sandbox: {}", end.error().message());
      if (--*left > 0) return;
      loop_->CancelTimer(*timer);
      Stopped();
      done({});
    });
  }
}

void SandboxService::Stopped() {
  if (state_ == State::kStopped) return;
  state_ = State::kStopped;
  exited_at_ = WallClock::now();
  network_namespace_.Reset();
  auto waiting = std::exchange(waiting_, {});
  for (const auto& call : waiting) call.Reply(formats::ProtoEncode(Exit()));
}

sandbox::WaitSandboxResponse SandboxService::Exit() const {
  sandbox::WaitSandboxResponse response;
  response.exited_at = formats::ProtoTimestamp::From(exited_at_);
  return response;
}

void SandboxService::Wait(const wire::TtrpcCall& call) {
  if (state_ == State::kStopped) return call.Reply(formats::ProtoEncode(Exit()));
  waiting_.push_back(call);
}

void SandboxService::Shutdown(const wire::TtrpcCall& call) {
  Stop(std::chrono::seconds(0), [this, call](Result<> stopped) {
    if (!stopped.ok()) return call.Reply(std::move(stopped).error());
    shut_down_ = true;
    // A task that nobody has deleted keeps its exit, and so the shim: deleting the last ends both.
    if (!tasks_->Present().empty()) return call.Reply(std::string());
    on_shutdown_([call] { call.Reply(std::string()); });
  });
}

}  // namespace gantry::shim
