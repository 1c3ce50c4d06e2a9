// SPDX-License-Identifier: Apache-2.0
#include "containerd/event_exchange.h"
#include "containerd/events/sandbox.pb.h"
#include "containerd/parts.h"
#include "containerd/records.h"
#include "containerd/rpc.h"
#include "containerd/runtime/sandbox/v1/sandbox.pb.h"
#include "containerd/services/sandbox/v1/sandbox.grpc.pb.h"
#include "containerd/shim_directory.h"
#include "containerd/task_calls.h"

namespace gantry::containerd {
namespace {

namespace sandbox_api = ::containerd::services::sandbox::v1;
namespace sandbox_shim_api = ::containerd::runtime::sandbox::v1;

// The one controller here: sandboxes whose shim serves the sandbox service.
constexpr std::string_view kShimController = "shim";
constexpr auto kNoTimeout = std::chrono::nanoseconds(0);

template <typename Request>
Request ForSandbox(const std::string& id) {
  Request request;
  request.set_sandbox_id(id);
  return request;
}

class SandboxControllerService : public sandbox_api::Controller::CallbackService {
 public:
  explicit SandboxControllerService(Parts* parts) : parts_(parts) {
    for (const auto& shim : parts_->sandboxes->All()) FollowExit(shim);
  }

 private:
  // Publishes the end of a sandbox, once. A shim that dies is told of by its directory.
  void FollowExit(const std::shared_ptr<Shim>& shim) {
    CallShim<sandbox_shim_api::WaitSandboxResponse>(
        shim, "WaitSandbox", ForSandbox<sandbox_shim_api::WaitSandboxRequest>(shim->id()),
        kNoTimeout,
        [events = parts_->events, shim](Result<sandbox_shim_api::WaitSandboxResponse> answer) {
          if (!answer.ok()) return;
          ::containerd::events::SandboxExit event;
          event.set_sandbox_id(shim->id());
          event.set_exit_status(answer->exit_status());
          *event.mutable_exited_at() = answer->exited_at();
          events->Publish(shim->ns(), "/sandboxes/exit", event);
        });
  }

  // What each call begins with: who calls, and the controller that it names.
  template <typename Request>
  Result<Caller> Begin(const Context& context, const Request& request) {
    Caller caller = TRY(CallerOf(context));
    if (request.sandboxer().empty()) {
      return InvalidArgument("sandbox controller name can not be empty");
    }
    if (request.sandboxer() != kShimController) {
      return NotFound("sandbox controller \"{}\": not found", request.sandboxer());
    }
    return caller;
  }
  template <typename Request>
  Result<std::shared_ptr<Shim>> Find(const Context& context, const Request& request) {
    Caller caller = TRY(Begin(context, request));
    return parts_->sandboxes->Find(caller.ns, request.sandbox_id());
  }
  static grpc::ServerUnaryReactor* Fail(Context* context, const Error& error) {
    auto* reactor = context->DefaultReactor();
    reactor->Finish(ToStatus(error));
    return reactor;
  }

  // The record of the store is enough where the request brings none.
  Result<::containerd::types::Sandbox> SandboxOf(
      const std::string& ns, const sandbox_api::ControllerCreateRequest& request) {
    if (request.has_sandbox()) return request.sandbox();
    auto tx = TRY(parts_->database->Read());
    return GetSandbox(tx, ns, request.sandbox_id());
  }

  // The shim is started by a worker, its answer is waited for without a thread.
  grpc::ServerUnaryReactor* Create(Context* context,
                                   const sandbox_api::ControllerCreateRequest* request,
                                   sandbox_api::ControllerCreateResponse* response) override {
    auto caller = Begin(*context, *request);
    if (!caller.ok()) return Fail(context, caller.error());
    auto* reactor = context->DefaultReactor();
    parts_->workers->Run([this, reactor, request, response, ns = caller->ns] {
      auto shim = StartShim(ns, *request);
      if (!shim.ok()) return reactor->Finish(ToStatus(shim.error()));
      auto create = ForSandbox<sandbox_shim_api::CreateSandboxRequest>((*shim)->id());
      create.set_bundle_path((*shim)->bundle().path());
      *create.mutable_rootfs() = request->rootfs();
      if (request->has_options()) *create.mutable_options() = request->options();
      create.set_netns_path(request->netns_path());
      *create.mutable_annotations() = request->annotations();
      CallShim<sandbox_shim_api::CreateSandboxResponse>(
          *shim, "CreateSandbox", create, kNoTimeout,
          [this, reactor, response,
           shim = *shim](Result<sandbox_shim_api::CreateSandboxResponse> answer) {
            if (!answer.ok()) {
              parts_->sandboxes->Retire(shim);
              return reactor->Finish(
                  ToStatus(std::move(answer).error().AddContext("creating sandbox " + shim->id())));
            }
            ::containerd::events::SandboxCreate event;
            event.set_sandbox_id(shim->id());
            parts_->events->Publish(shim->ns(), "/sandboxes/create", event);
            response->set_sandbox_id(shim->id());
            reactor->Finish(grpc::Status::OK);
          });
    });
    return reactor;
  }

  Result<std::shared_ptr<Shim>> StartShim(const std::string& ns,
                                          const sandbox_api::ControllerCreateRequest& request) {
    auto sandbox = TRY(SandboxOf(ns, request));
    const std::string& id =
        request.sandbox_id().empty() ? sandbox.sandbox_id() : request.sandbox_id();
    std::string options;
    if (sandbox.runtime().has_options()) options = sandbox.runtime().options().SerializeAsString();
    return parts_->sandboxes->Start(
        {.ns = ns,
         .id = id,
         .runtime = sandbox.runtime().name(),
         .spec = sandbox.spec().value().empty() ? "{}" : sandbox.spec().value(),
         .options = std::move(options)});
  }

  grpc::ServerUnaryReactor* Start(Context* context,
                                  const sandbox_api::ControllerStartRequest* request,
                                  sandbox_api::ControllerStartResponse* response) override {
    auto shim = Find(*context, *request);
    if (!shim.ok()) return Fail(context, shim.error());
    return PassOn<sandbox_shim_api::StartSandboxResponse>(
        context, shim, "StartSandbox",
        ForSandbox<sandbox_shim_api::StartSandboxRequest>(request->sandbox_id()),
        [this, response, shim = *shim](const sandbox_shim_api::StartSandboxResponse& answer) {
          response->set_sandbox_id(shim->id());
          response->set_pid(answer.pid());
          *response->mutable_created_at() = answer.created_at();
          response->set_address(shim->endpoint().address);
          response->set_version(static_cast<uint32_t>(shim->endpoint().version));
          if (answer.has_spec()) *response->mutable_spec() = answer.spec();
          ::containerd::events::SandboxStart event;
          event.set_sandbox_id(shim->id());
          parts_->events->Publish(shim->ns(), "/sandboxes/start", event);
          FollowExit(shim);
        });
  }

  grpc::ServerUnaryReactor* Platform(Context* context,
                                     const sandbox_api::ControllerPlatformRequest* request,
                                     sandbox_api::ControllerPlatformResponse* response) override {
    return PassOn<sandbox_shim_api::PlatformResponse>(
        context, Find(*context, *request), "Platform",
        ForSandbox<sandbox_shim_api::PlatformRequest>(request->sandbox_id()),
        [response](const sandbox_shim_api::PlatformResponse& answer) {
          *response->mutable_platform() = answer.platform();
        });
  }

  // One that is gone is stopped.
  grpc::ServerUnaryReactor* Stop(Context* context,
                                 const sandbox_api::ControllerStopRequest* request,
                                 sandbox_api::ControllerStopResponse*) override {
    auto caller = Begin(*context, *request);
    if (!caller.ok()) return Fail(context, caller.error());
    auto shim = parts_->sandboxes->Find(caller->ns, request->sandbox_id());
    if (!shim.ok()) return Answer(context, []() -> Result<> { return {}; });
    auto stop = ForSandbox<sandbox_shim_api::StopSandboxRequest>(request->sandbox_id());
    stop.set_timeout_secs(request->timeout_secs());
    auto* reactor = context->DefaultReactor();
    CallShim<sandbox_shim_api::StopSandboxResponse>(
        *shim, "StopSandbox", stop, kNoTimeout,
        [reactor](Result<sandbox_shim_api::StopSandboxResponse> answer) {
          bool gone = !answer.ok() && (answer.error().kind() == ErrorKind::kNotFound ||
                                       answer.error().kind() == ErrorKind::kUnavailable);
          reactor->Finish(answer.ok() || gone ? grpc::Status::OK : ToStatus(answer.error()));
        });
    return reactor;
  }

  // A client that gives up before the exit costs what it cost: the answer is dropped.
  grpc::ServerUnaryReactor* Wait(Context* context,
                                 const sandbox_api::ControllerWaitRequest* request,
                                 sandbox_api::ControllerWaitResponse* response) override {
    auto shim = Find(*context, *request);
    if (!shim.ok()) return Fail(context, shim.error());
    return WaitForSandbox(*shim, [response](const TaskEnd& end) {
      response->set_exit_status(end.status);
      *response->mutable_exited_at() = ToProto(end.at);
    });
  }

  grpc::ServerUnaryReactor* Status(Context* context,
                                   const sandbox_api::ControllerStatusRequest* request,
                                   sandbox_api::ControllerStatusResponse* response) override {
    auto caller = Begin(*context, *request);
    if (!caller.ok()) return Fail(context, caller.error());
    auto shim = parts_->sandboxes->Find(caller->ns, request->sandbox_id());
    if (!shim.ok()) {
      // As containerd: one that is not there has exited.
      return Answer(context, [&]() -> Result<> {
        response->set_sandbox_id(request->sandbox_id());
        *response->mutable_exited_at() = ToProto(Now());
        return {};
      });
    }
    auto status = ForSandbox<sandbox_shim_api::SandboxStatusRequest>(request->sandbox_id());
    status.set_verbose(request->verbose());
    return PassOn<sandbox_shim_api::SandboxStatusResponse>(
        context, shim, "SandboxStatus", status,
        [response, shim = *shim](const sandbox_shim_api::SandboxStatusResponse& answer) {
          response->set_sandbox_id(answer.sandbox_id());
          response->set_pid(answer.pid());
          response->set_state(answer.state());
          *response->mutable_info() = answer.info();
          if (answer.has_created_at()) *response->mutable_created_at() = answer.created_at();
          if (answer.has_exited_at()) *response->mutable_exited_at() = answer.exited_at();
          if (answer.has_extra()) *response->mutable_extra() = answer.extra();
          response->set_address(shim->endpoint().address);
          response->set_version(static_cast<uint32_t>(shim->endpoint().version));
        });
  }

  grpc::ServerUnaryReactor* Shutdown(Context* context,
                                     const sandbox_api::ControllerShutdownRequest* request,
                                     sandbox_api::ControllerShutdownResponse*) override {
    auto shim = Find(*context, *request);
    if (!shim.ok()) return Fail(context, shim.error());
    parts_->sandboxes->Retire(*shim);
    auto* reactor = context->DefaultReactor();
    // Answered when the shim and its bundle are gone, so that the name is free.
    parts_->workers->Run([this, reactor, shim = *shim] {
      reactor->Finish(ToStatus(parts_->sandboxes->WaitUntilGone(shim)));
    });
    return reactor;
  }

  grpc::ServerUnaryReactor* Metrics(Context* context,
                                    const sandbox_api::ControllerMetricsRequest* request,
                                    sandbox_api::ControllerMetricsResponse* response) override {
    return PassOn<sandbox_shim_api::SandboxMetricsResponse>(
        context, Find(*context, *request), "SandboxMetrics",
        ForSandbox<sandbox_shim_api::SandboxMetricsRequest>(request->sandbox_id()),
        [response](const sandbox_shim_api::SandboxMetricsResponse& answer) {
          *response->mutable_metrics() = answer.metrics();
        });
  }

  // The shim's service has no call for it: as with containerd, it is only checked.
  grpc::ServerUnaryReactor* Update(Context* context,
                                   const sandbox_api::ControllerUpdateRequest* request,
                                   sandbox_api::ControllerUpdateResponse*) override {
    return Answer(context, [&]() -> Result<> {
      TRY(Find(*context, *request));
      if (!request->has_sandbox()) return InvalidArgument("sandbox can not be nil");
      return {};
    });
  }

  Parts* parts_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeSandboxControllerService(Parts* parts) {
  return std::make_unique<SandboxControllerService>(parts);
}

}  // namespace gantry::containerd
