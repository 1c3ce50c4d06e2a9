// SPDX-License-Identifier: Apache-2.0
#include "buildkit/bridge_service.h"

#include <utility>

#include "build/base_image.h"
#include "buildkit/control_service.h"
#include "buildkit/definitions.h"
#include "buildkit/frontend.h"
#include "buildkit/progress.h"
#include "buildkit/result_files.h"
#include "buildkit/rpc.h"
#include "llb/graph.h"

namespace gantry::buildkit {
namespace {

namespace gateway = moby::buildkit::v1::frontend;

constexpr const char* kBuildId = "buildkit-controlapi-buildid";
// What of the gateway's API there is.
constexpr const char* kCaps[] = {"solve.base",
                                 "solve.inlinereturn",
                                 "return",
                                 "returnmap",
                                 "proto.refarray",
                                 "frontend.caps",
                                 "gateway.evaluate",
                                 "gateway.solve.evaluate",
                                 "gateway.solve.metadata",
                                 "readfile",
                                 "readdir",
                                 "statfile",
                                 "resolveimage",
                                 "source.metaresolver",
                                 "frontend.inputs",
                                 "reference.output"};

}  // namespace

namespace {

// Clients put the name of a code before its message; BuildKit has none for what is wrong with a
// Dockerfile, context or operation.
Error WithoutCode(const Error& error) {
  bool said = error.kind() == ErrorKind::kCancelled || error.kind() == ErrorKind::kUnavailable ||
              error.kind() == ErrorKind::kUnimplemented;
  return MakeError(said ? error.kind() : ErrorKind::kUnknown, "{}", error.message());
}

Result<> CheckFrontend(const std::string& frontend, const FrontendOptions& options) {
  if (frontend == "dockerfile.v0") return {};
  if (frontend != "gateway.v0") return Unimplemented("there is no front end '{}'", frontend);
  auto given = options.find("source");
  return CheckFrontendImage(given == options.end() ? "" : given->second);
}

Result<Solved> Make(Shared& shared, Job& job, const Solvable& wanted, const StopToken& stop) {
  if (wanted.definition.def_size() > 0) {
    auto made = TRY(SolveDefinition(shared, job, wanted.definition, stop, wanted.details));
    return Solved{TRY(job.Keep(std::move(made))), {}};
  }
  FrontendOptions given(wanted.options.begin(), wanted.options.end());
  TRY(CheckFrontend(wanted.frontend, given));
  if (given.contains("requestid")) {
    auto session = TRY(shared.sessions.Find(job.wanted().session, kBeginBound));
    return Solved{"", TRY(AnswerRequest(shared.engine, given, std::move(session), job, stop))};
  }
  FrontendInputs inputs;
  for (const auto& [name, definition] : wanted.inputs) {
    inputs[name] = TRY(SolveDefinition(shared, job, definition, stop, wanted.details));
  }
  auto session = TRY(shared.sessions.Find(job.wanted().session, kBeginBound));
  auto made = TRY(RunFrontend(
      {shared.engine, shared.builds, given, std::move(session), job, stop, wanted.details},
      std::move(inputs)));
  return Solved{TRY(job.Keep(std::move(made))), {}};
}

// An image that is here, or is pulled with the job's logins.
Result<engine::NamedImage> FindImage(Shared& shared, Job& job, const std::string& name,
                                     const pb::Platform& platform, const std::string& mode,
                                     const StopToken& stop) {
  build::BuildRequest request;
  if (!job.wanted().session.empty()) {
    AskSession(TRY(shared.sessions.Find(job.wanted().session, kBeginBound)), stop, &request);
  }
  build::ImageWanted wanted;
  wanted.name = name;
  if (!platform.os().empty()) {
    wanted.platform = platform.os() + "/" + platform.architecture();
    if (!platform.variant().empty()) wanted.platform += "/" + platform.variant();
  }
  wanted.pulls = mode == "pull" || mode == "1";
  wanted.hold = [](const engine::NamedImage&) -> Result<bool> { return true; };
  return InStep(job.progress(), "resolve image config for docker-image://" + name, [&](size_t) {
    return build::FindOrPullImage(shared.engine, request, wanted, stop);
  });
}

}  // namespace

Result<Solved> Solve(Shared& shared, const std::shared_ptr<Job>& job, const Solvable& wanted,
                     const StopToken& stop) {
  auto solved = Make(shared, *job, wanted, stop);
  if (!solved.ok()) return WithoutCode(solved.error());
  return solved;
}

grpc::ServerUnaryReactor* BridgeService::WithJob(
    grpc::CallbackServerContext* context,
    std::function<Result<>(const std::shared_ptr<Job>& job, const StopToken& stop)> work) {
  return WithDetails(context, [work = std::move(work)](const auto& job, const StopToken& stop,
                                                       ErrorDetails*) { return work(job, stop); });
}

grpc::ServerUnaryReactor* BridgeService::WithDetails(grpc::CallbackServerContext* context,
                                                     DetailedWork work) {
  std::string ref;
  auto found = context->client_metadata().find(kBuildId);
  if (found != context->client_metadata().end()) {
    ref.assign(found->second.data(), found->second.size());
  }
  return WorkCall::Start(shared_.workers,
                         [this, ref, work = std::move(work)](const StopToken& stop,
                                                             ErrorDetails* details) -> Result<> {
                           auto job = TRY(shared_.jobs.Find(ref, kBeginBound));
                           return work(job, stop, details);
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
    for (const std::string& id : llb::Capabilities()) {
      auto* cap = response->add_llbcaps();
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
  return WithDetails(
      context,
      [=, this](const auto& job, const StopToken& stop, ErrorDetails* details) -> Result<> {
        bool empty = request->definition().def_size() == 0 && request->frontend().empty();
        if (empty) return {};  // a client that begins with nothing
        auto [name, metadata] =
            TRY(buildkit::Solve(shared_, job,
                                {request->definition(), request->frontend(), request->frontendopt(),
                                 request->frontendinputs(), details},
                                stop));
        if (request->allowresultreturn()) {
          gateway::Result& result = *response->mutable_result();
          result.mutable_ref()->set_id(name);
          for (const auto& [key, value] : metadata) (*result.mutable_metadata())[key] = value;
          if (name.empty()) return {};
          *result.mutable_ref()->mutable_def() = DefinitionOf(name);
          if (request->definition().def_size() == 0) {
            (*result.mutable_metadata())["containerimage.config"] =
                build::DocumentOf(TRY(job->Get(name))->result()).Dump();
          }
        } else {
          response->set_ref(name);
        }
        return {};
      });
}

grpc::ServerUnaryReactor* BridgeService::ResolveImageConfig(
    grpc::CallbackServerContext* context, const gateway::ResolveImageConfigRequest* request,
    gateway::ResolveImageConfigResponse* response) {
  return WithJob(context, [=, this](const auto& job, const StopToken& stop) -> Result<> {
    auto image = TRY(FindImage(shared_, *job, request->ref(), request->platform(),
                               request->resolvemode(), stop));
    response->set_ref(request->ref());
    response->set_digest(image.image.target.digest);
    response->set_config(TRY(shared_.engine.containerd().ReadBlob(image.documents->id)));
    return {};
  });
}

grpc::ServerUnaryReactor* BridgeService::ResolveSourceMeta(
    grpc::CallbackServerContext* context, const gateway::ResolveSourceMetaRequest* request,
    gateway::ResolveSourceMetaResponse* response) {
  return WithJob(context, [=, this](const auto& job, const StopToken& stop) -> Result<> {
    *response->mutable_source() = request->source();
    constexpr std::string_view kImage = "docker-image://";
    const std::string& identifier = request->source().identifier();
    if (!identifier.starts_with(kImage)) return {};
    auto image = TRY(FindImage(shared_, *job, identifier.substr(kImage.size()), request->platform(),
                               request->resolvemode(), stop));
    response->mutable_image()->set_digest(image.image.target.digest);
    response->mutable_image()->set_config(
        TRY(shared_.engine.containerd().ReadBlob(image.documents->id)));
    return {};
  });
}

grpc::ServerUnaryReactor* BridgeService::ReadFile(grpc::CallbackServerContext* context,
                                                  const gateway::ReadFileRequest* request,
                                                  gateway::ReadFileResponse* response) {
  return WithJob(context, [=](const auto& job, const StopToken&) -> Result<> {
    auto made = TRY(job->Get(request->ref()));
    BorrowedFd root = TRY(made->OpenFiles());
    response->set_data(TRY(ReadResultFile(root, request->filepath(), request->range().offset(),
                                          request->range().length())));
    return {};
  });
}

grpc::ServerUnaryReactor* BridgeService::ReadDir(grpc::CallbackServerContext* context,
                                                 const gateway::ReadDirRequest* request,
                                                 gateway::ReadDirResponse* response) {
  return WithJob(context, [=](const auto& job, const StopToken&) -> Result<> {
    auto made = TRY(job->Get(request->ref()));
    BorrowedFd root = TRY(made->OpenFiles());
    for (auto& entry :
         TRY(ListResultDirectory(root, request->dirpath(), request->includepattern()))) {
      *response->add_entries() = std::move(entry);
    }
    return {};
  });
}

grpc::ServerUnaryReactor* BridgeService::StatFile(grpc::CallbackServerContext* context,
                                                  const gateway::StatFileRequest* request,
                                                  gateway::StatFileResponse* response) {
  return WithJob(context, [=](const auto& job, const StopToken&) -> Result<> {
    auto made = TRY(job->Get(request->ref()));
    BorrowedFd root = TRY(made->OpenFiles());
    *response->mutable_stat() = TRY(StatResultFile(root, request->path()));
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
    auto config = result.metadata().find("containerimage.config");
    if (config != result.metadata().end() && result.has_ref()) {
      TRY(TRY(job->Get(result.ref().id()))->SetConfig(config->second));
    }
    if (request->has_error() && request->error().code() != 0) {
      job->Return(ToResult({static_cast<grpc::StatusCode>(request->error().code()),
                            request->error().message()})
                      .error(),
                  request->error().details());
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
