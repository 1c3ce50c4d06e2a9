// SPDX-License-Identifier: Apache-2.0
#include "buildkit/bridge_service.h"

#include <algorithm>
#include <utility>

#include "build/stage_state.h"
#include "buildkit/control_service.h"
#include "buildkit/definitions.h"
#include "buildkit/image_lookup.h"
#include "buildkit/progress.h"
#include "buildkit/result_files.h"
#include "buildkit/rpc.h"
#include "buildkit/solve.h"
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
                                 "reference.output",
                                 "gateway.warnings",
                                 "gateway.exec",
                                 "gateway.exec.extrahosts",
                                 "gateway.exec.secretenv",
                                 "gateway.exec.signals",
                                 "gateway.exec.filesystem",
                                 "resolveimage.resolvemode"};

bool Pulls(const std::string& mode) { return mode == "pull" || mode == "1"; }

}  // namespace

namespace {

// The image's configuration as the front end says, for the platform that a map has.
std::string ConfigOf(const gateway::Result& result, const std::string& platform) {
  constexpr const char* kConfig = "containerimage.config";
  auto found = result.metadata().find(platform.empty() ? kConfig : kConfig + ("/" + platform));
  return found == result.metadata().end() ? "" : found->second;
}

std::vector<Solved::Ref> RefsOf(const gateway::Result& result) {
  std::vector<Solved::Ref> out;
  if (result.has_refs()) {
    for (const auto& [platform, ref] : result.refs().refs()) out.push_back({ref.id(), platform});
  } else if (result.has_refsdeprecated()) {
    for (const auto& [platform, name] : result.refsdeprecated().refs()) {
      out.push_back({name, platform});
    }
  } else {
    out.push_back({result.has_ref() ? result.ref().id() : result.refdeprecated(), ""});
  }
  std::erase_if(out, [](const Solved::Ref& ref) { return ref.name.empty(); });
  std::sort(out.begin(), out.end(),
            [](const Solved::Ref& a, const Solved::Ref& b) { return a.platform < b.platform; });
  return out;
}

bool IsError(const gateway::ReturnRequest& request) {
  return request.has_error() && request.error().code() != 0;
}

Result<Solved> TakeReturned(Job& job, const gateway::Result& result) {
  Solved solved{RefsOf(result), {}};
  for (const auto& [key, value] : result.metadata()) solved.metadata[key] = value;
  for (const Solved::Ref& ref : solved.refs) {
    auto made = TRY(job.Get(ref.name));
    std::string config = ConfigOf(result, ref.platform);
    if (config.empty()) continue;
    TRY(made->SetConfig(config));
    if (solved.refs.size() == 1) solved.metadata["containerimage.config"] = std::move(config);
  }
  return solved;
}

// To the client of Solve. `configures`: also what the image's configuration is.
Result<> Tell(const Solved& solved, Job& job, bool configures, gateway::Result* result) {
  for (const auto& [key, value] : solved.metadata) (*result->mutable_metadata())[key] = value;
  // An empty one says that there is an answer.
  if (solved.refs.empty()) result->mutable_ref();
  for (const Solved::Ref& ref : solved.refs) {
    bool alone = ref.platform.empty();
    gateway::Ref& told =
        alone ? *result->mutable_ref() : (*result->mutable_refs()->mutable_refs())[ref.platform];
    told.set_id(ref.name);
    *told.mutable_def() = DefinitionOf(ref.name);
    if (alone && configures && !solved.metadata.contains("containerimage.config")) {
      (*result->mutable_metadata())["containerimage.config"] =
          build::DocumentOf(TRY(job.Get(ref.name))->result()).Dump();
    }
  }
  return {};
}

// Of a result's root, or of a mount of a container.
Result<> Read(BorrowedFd root, const gateway::ReadFileRequest& request,
              gateway::ReadFileResponse* response) {
  response->set_data(TRY(ReadResultFile(root, request.filepath(), request.range().offset(),
                                        request.range().length())));
  return {};
}

Result<> Read(BorrowedFd root, const gateway::ReadDirRequest& request,
              gateway::ReadDirResponse* response) {
  for (auto& entry : TRY(ListResultDirectory(root, request.dirpath(), request.includepattern()))) {
    *response->add_entries() = std::move(entry);
  }
  return {};
}

Result<> Read(BorrowedFd root, const gateway::StatFileRequest& request,
              gateway::StatFileResponse* response) {
  *response->mutable_stat() = TRY(StatResultFile(root, request.path()));
  return {};
}

}  // namespace

std::function<Result<BridgeService::Caller>()> BridgeService::FindCaller(
    const grpc::CallbackServerContext& context) const {
  if (frontend_ != nullptr) {
    return [caller = Caller{frontend_->job(), frontend_}]() -> Result<Caller> { return caller; };
  }
  std::string ref;
  auto found = context.client_metadata().find(kBuildId);
  if (found != context.client_metadata().end()) {
    ref.assign(found->second.data(), found->second.size());
  }
  return [&jobs = shared_.jobs, ref]() -> Result<Caller> {
    return Caller{TRY(jobs.Find(ref, kBeginBound)), nullptr};
  };
}

grpc::ServerUnaryReactor* BridgeService::WithCaller(grpc::CallbackServerContext* context,
                                                    Work work) {
  return WorkCall::Start(shared_.workers,
                         [find = FindCaller(*context), work = std::move(work)](
                             const StopToken& stop, ErrorDetails* details) -> Result<> {
                           Caller caller = TRY(find());
                           caller.details = details;
                           return work(caller, stop);
                         });
}

grpc::ServerUnaryReactor* BridgeService::Ping(grpc::CallbackServerContext* context,
                                              const gateway::PingRequest*,
                                              gateway::PongResponse* response) {
  return WithCaller(context, [response](const Caller&, const StopToken&) -> Result<> {
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
  return WithCaller(context, [=, this](const Caller& caller, const StopToken& stop) -> Result<> {
    bool empty = request->definition().def_size() == 0 && request->frontend().empty();
    if (empty) return {};  // a client that begins with nothing
    if (request->sourcepolicies_size() > 0) {
      return Unimplemented("policies of sources are not supported");
    }
    Solved solved =
        TRY(buildkit::Solve(shared_, caller.job,
                            {request->definition(), request->frontend(), request->frontendopt(),
                             request->frontendinputs(), caller.details, caller.depth()},
                            stop));
    bool by_platform = !solved.refs.empty() && !solved.refs[0].platform.empty();
    if (!request->allowresultreturn()) {
      if (by_platform) return Unimplemented("the client can't take a result by platforms");
      response->set_ref(solved.refs.empty() ? "" : solved.refs[0].name);
      return {};
    }
    return Tell(solved, *caller.job, request->definition().def_size() == 0,
                response->mutable_result());
  });
}

grpc::ServerUnaryReactor* BridgeService::ResolveImageConfig(
    grpc::CallbackServerContext* context, const gateway::ResolveImageConfigRequest* request,
    gateway::ResolveImageConfigResponse* response) {
  return WithCaller(context, [=, this](const Caller& caller, const StopToken& stop) -> Result<> {
    auto image = TRY(
        FindJobImage(shared_, *caller.job,
                     {request->ref(), request->platform(), Pulls(request->resolvemode())}, stop));
    response->set_ref(request->ref());
    response->set_digest(image.image.target.digest);
    response->set_config(TRY(shared_.engine.containerd().ReadBlob(image.documents->id)));
    return {};
  });
}

grpc::ServerUnaryReactor* BridgeService::ResolveSourceMeta(
    grpc::CallbackServerContext* context, const gateway::ResolveSourceMetaRequest* request,
    gateway::ResolveSourceMetaResponse* response) {
  return WithCaller(context, [=, this](const Caller& caller, const StopToken& stop) -> Result<> {
    *response->mutable_source() = request->source();
    constexpr std::string_view kImage = "docker-image://";
    const std::string& identifier = request->source().identifier();
    if (!identifier.starts_with(kImage)) return {};
    auto image = TRY(FindJobImage(
        shared_, *caller.job,
        {identifier.substr(kImage.size()), request->platform(), Pulls(request->resolvemode())},
        stop));
    response->mutable_image()->set_digest(image.image.target.digest);
    response->mutable_image()->set_config(
        TRY(shared_.engine.containerd().ReadBlob(image.documents->id)));
    return {};
  });
}

grpc::ServerUnaryReactor* BridgeService::ReadFile(grpc::CallbackServerContext* context,
                                                  const gateway::ReadFileRequest* request,
                                                  gateway::ReadFileResponse* response) {
  return WithCaller(context, [=](const Caller& caller, const StopToken&) -> Result<> {
    auto made = TRY(caller.job->Get(request->ref()));
    BorrowedFd root = TRY(made->OpenFiles());
    return Read(root, *request, response);
  });
}

grpc::ServerUnaryReactor* BridgeService::ReadDir(grpc::CallbackServerContext* context,
                                                 const gateway::ReadDirRequest* request,
                                                 gateway::ReadDirResponse* response) {
  return WithCaller(context, [=](const Caller& caller, const StopToken&) -> Result<> {
    auto made = TRY(caller.job->Get(request->ref()));
    BorrowedFd root = TRY(made->OpenFiles());
    return Read(root, *request, response);
  });
}

grpc::ServerUnaryReactor* BridgeService::StatFile(grpc::CallbackServerContext* context,
                                                  const gateway::StatFileRequest* request,
                                                  gateway::StatFileResponse* response) {
  return WithCaller(context, [=](const Caller& caller, const StopToken&) -> Result<> {
    auto made = TRY(caller.job->Get(request->ref()));
    BorrowedFd root = TRY(made->OpenFiles());
    return Read(root, *request, response);
  });
}

grpc::ServerUnaryReactor* BridgeService::Evaluate(grpc::CallbackServerContext* context,
                                                  const gateway::EvaluateRequest*,
                                                  gateway::EvaluateResponse*) {
  // A result that has a name was made.
  return WithCaller(context, [](const Caller&, const StopToken&) -> Result<> { return {}; });
}

grpc::ServerUnaryReactor* BridgeService::Inputs(grpc::CallbackServerContext* context,
                                                const gateway::InputsRequest*,
                                                gateway::InputsResponse* response) {
  return WithCaller(context, [response](const Caller& caller, const StopToken&) -> Result<> {
    if (caller.frontend == nullptr) return {};
    const InputDefinitions& inputs = caller.frontend->inputs();
    response->mutable_definitions()->insert(inputs.begin(), inputs.end());
    return {};
  });
}

grpc::ServerUnaryReactor* BridgeService::Return(grpc::CallbackServerContext* context,
                                                const gateway::ReturnRequest* request,
                                                gateway::ReturnResponse*) {
  return WithCaller(context, [request](const Caller& caller, const StopToken&) -> Result<> {
    Job& job = *caller.job;
    Result<Solved> solved =
        IsError(*request)
            ? Result<Solved>(ToResult({static_cast<grpc::StatusCode>(request->error().code()),
                                       request->error().message()})
                                 .error())
            : TakeReturned(job, request->result());
    bool is_wrong = !solved.ok() && !IsError(*request);
    if (caller.frontend != nullptr) {
      // It may return something else.
      if (is_wrong) return std::move(solved).error();
      return caller.frontend->Return(std::move(solved));
    }
    if (!solved.ok()) {
      job.Return(solved.error(), request->error().details());
      if (is_wrong) return std::move(solved).error();
    } else {
      job.Return(*std::move(solved));
    }
    return {};
  });
}

grpc::ServerUnaryReactor* BridgeService::Warn(grpc::CallbackServerContext* context,
                                              const gateway::WarnRequest* request,
                                              gateway::WarnResponse*) {
  return WithCaller(context, [request](const Caller& caller, const StopToken&) -> Result<> {
    moby::buildkit::v1::VertexWarning warning;
    warning.set_vertex(request->digest());
    warning.set_level(request->level());
    warning.set_summary(request->short_());
    *warning.mutable_detail() = request->detail();
    warning.set_url(request->url());
    *warning.mutable_info() = request->info();
    *warning.mutable_ranges() = request->ranges();
    caller.job->progress().Warn(std::move(warning));
    return {};
  });
}

grpc::ServerUnaryReactor* BridgeService::NewContainer(grpc::CallbackServerContext* context,
                                                      const gateway::NewContainerRequest* request,
                                                      gateway::NewContainerResponse*) {
  return WithCaller(context, [=, this](const Caller& caller, const StopToken& stop) -> Result<> {
    auto container = TRY(GatewayContainer::Create(shared_, *caller.job, *request, stop));
    return caller.containers().Add(request->containerid(), std::move(container));
  });
}

grpc::ServerUnaryReactor* BridgeService::ReleaseContainer(
    grpc::CallbackServerContext* context, const gateway::ReleaseContainerRequest* request,
    gateway::ReleaseContainerResponse*) {
  return WithCaller(context, [=](const Caller& caller, const StopToken&) {
    return caller.containers().Release(request->containerid());
  });
}

grpc::ServerBidiReactor<ExecMessage, ExecMessage>* BridgeService::ExecProcess(
    grpc::CallbackServerContext* context) {
  auto find = [caller = FindCaller(*context)](
                  const std::string& id) -> Result<std::shared_ptr<GatewayContainer>> {
    return TRY(caller()).containers().Find(id);
  };
  return ServeProcesses(shared_.workers, std::move(find));
}

grpc::ServerUnaryReactor* BridgeService::ReadFileContainer(grpc::CallbackServerContext* context,
                                                           const gateway::ReadFileRequest* request,
                                                           gateway::ReadFileResponse* response) {
  return WithCaller(context, [=](const Caller& caller, const StopToken&) -> Result<> {
    auto container = TRY(caller.containers().Find(request->ref()));
    UniqueFd root = TRY(container->OpenMount(request->mountindex()));
    return Read(root, *request, response);
  });
}

grpc::ServerUnaryReactor* BridgeService::ReadDirContainer(grpc::CallbackServerContext* context,
                                                          const gateway::ReadDirRequest* request,
                                                          gateway::ReadDirResponse* response) {
  return WithCaller(context, [=](const Caller& caller, const StopToken&) -> Result<> {
    auto container = TRY(caller.containers().Find(request->ref()));
    UniqueFd root = TRY(container->OpenMount(request->mountindex()));
    return Read(root, *request, response);
  });
}

grpc::ServerUnaryReactor* BridgeService::StatFileContainer(grpc::CallbackServerContext* context,
                                                           const gateway::StatFileRequest* request,
                                                           gateway::StatFileResponse* response) {
  return WithCaller(context, [=](const Caller& caller, const StopToken&) -> Result<> {
    auto container = TRY(caller.containers().Find(request->ref()));
    UniqueFd root = TRY(container->OpenMount(request->mountindex()));
    return Read(root, *request, response);
  });
}

}  // namespace gantry::buildkit
