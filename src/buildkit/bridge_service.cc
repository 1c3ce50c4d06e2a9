// SPDX-License-Identifier: Apache-2.0
#include "buildkit/bridge_service.h"

#include <utility>

#include "buildkit/control_service.h"
#include "buildkit/frontend.h"
#include "buildkit/progress.h"
#include "buildkit/rpc.h"

namespace gantry::buildkit {
namespace {

namespace gateway = moby::buildkit::v1::frontend;

constexpr const char* kBuildId = "buildkit-controlapi-buildid";
// What of the gateway's API there is.
constexpr const char* kCaps[] = {
    "solve.base",       "solve.inlinereturn",     "return",
    "returnmap",        "proto.refarray",         "frontend.caps",
    "gateway.evaluate", "gateway.solve.evaluate", "gateway.solve.metadata"};

}  // namespace

Result<std::string> Solve(Shared& shared, const std::shared_ptr<Job>& job,
                          const std::string& frontend,
                          const google::protobuf::Map<std::string, std::string>& options,
                          const StopToken& stop) {
  FrontendOptions given(options.begin(), options.end());
  // "# syntax=docker/dockerfile:1" is answered by the front end that is here.
  bool dockerfile = frontend == "dockerfile.v0";
  if (frontend == "gateway.v0") {
    std::string source = given["source"];
    for (std::string_view prefix : {"docker.io/", "docker-image://"}) {
      if (source.starts_with(prefix)) source.erase(0, prefix.size());
    }
    dockerfile = source.starts_with("docker/dockerfile:") || source == "docker/dockerfile";
    if (!dockerfile) return Unimplemented("front end images are not run: {}", given["source"]);
  }
  if (!dockerfile) return Unimplemented("there is no front end '{}'", frontend);
  auto session = TRY(shared.sessions.Find(job->wanted().session, kBeginBound));
  auto made = RunFrontend(shared.engine, shared.builds, given, std::move(session), *job, stop);
  if (made.ok()) return job->Keep(*std::move(made));
  // Clients put the name of a code before its message; BuildKit has none for what is wrong with a
  // Dockerfile or context.
  ErrorKind kind = made.error().kind();
  bool said = kind == ErrorKind::kCancelled || kind == ErrorKind::kUnavailable ||
              kind == ErrorKind::kUnimplemented;
  return MakeError(said ? kind : ErrorKind::kUnknown, "{}", made.error().message());
}

grpc::ServerUnaryReactor* BridgeService::WithJob(
    grpc::CallbackServerContext* context,
    std::function<Result<>(const std::shared_ptr<Job>& job, const StopToken& stop)> work) {
  std::string ref;
  auto found = context->client_metadata().find(kBuildId);
  if (found != context->client_metadata().end()) {
    ref.assign(found->second.data(), found->second.size());
  }
  return WorkCall::Start(shared_.workers,
                         [this, ref, work = std::move(work)](const StopToken& stop) -> Result<> {
                           auto job = TRY(shared_.jobs.Find(ref, kBeginBound));
                           return work(job, stop);
                         });
}

grpc::ServerUnaryReactor* BridgeService::Ping(grpc::CallbackServerContext* context,
                                              const gateway::PingRequest*,
                                              gateway::PongResponse* response) {
  return WithJob(context, [response](const auto&, const StopToken&) -> Result<> {
    for (const char* id : kCaps) {
      auto* cap = response->add_frontendapicaps();
      cap->set_id(id);
      cap->set_enabled(true);
    }
    Describe(response->add_workers());
    return {};
  });
}

grpc::ServerUnaryReactor* BridgeService::Solve(grpc::CallbackServerContext* context,
                                               const gateway::SolveRequest* request,
                                               gateway::SolveResponse* response) {
  return WithJob(context, [=, this](const auto& job, const StopToken& stop) -> Result<> {
    if (request->definition().def_size() > 0 || request->frontendinputs_size() > 0) {
      return Unimplemented("operations of LLB are not run: this engine builds Dockerfiles");
    }
    std::string name =
        TRY(buildkit::Solve(shared_, job, request->frontend(), request->frontendopt(), stop));
    if (request->allowresultreturn()) {
      response->mutable_result()->mutable_ref()->set_id(name);
    } else {
      response->set_ref(name);
    }
    return {};
  });
}

grpc::ServerUnaryReactor* BridgeService::Evaluate(grpc::CallbackServerContext* context,
                                                  const gateway::EvaluateRequest*,
                                                  gateway::EvaluateResponse*) {
  // A result that has a name was made.
  return WithJob(context, [](const auto&, const StopToken&) -> Result<> { return {}; });
}

grpc::ServerUnaryReactor* BridgeService::Inputs(grpc::CallbackServerContext* context,
                                                const gateway::InputsRequest*,
                                                gateway::InputsResponse*) {
  return WithJob(context, [](const auto&, const StopToken&) -> Result<> { return {}; });
}

grpc::ServerUnaryReactor* BridgeService::Return(grpc::CallbackServerContext* context,
                                                const gateway::ReturnRequest* request,
                                                gateway::ReturnResponse*) {
  return WithJob(context, [request](const auto& job, const StopToken&) -> Result<> {
    const gateway::Result& result = request->result();
    if (request->has_error() && request->error().code() != 0) {
      job->Return(ToResult({static_cast<grpc::StatusCode>(request->error().code()),
                            request->error().message()})
                      .error());
    } else if (result.has_refs()) {
      const auto& refs = result.refs().refs();
      if (refs.size() > 1) {
        job->Return(Unimplemented("an image for several platforms can't be built"));
      } else {
        job->Return(refs.empty() ? std::string() : refs.begin()->second.id());
      }
    } else {
      job->Return(result.has_ref() ? result.ref().id() : result.refdeprecated());
    }
    return {};
  });
}

}  // namespace gantry::buildkit
