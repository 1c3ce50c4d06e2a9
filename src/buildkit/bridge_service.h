// SPDX-License-Identifier: Apache-2.0
//
// moby.buildkit.v1.frontend.LLBBridge: a client (buildx), or a front end that runs in a container,
// asks for results and says which one is the build's, or its own. A client's call names its build
// in the metadata. Any thread.
#pragma once

#include <functional>
#include <memory>
#include <utility>

#include "buildkit/frontend_run.h"
#include "buildkit/process_stream.h"
#include "buildkit/shared.h"
#include "moby/buildkit/gateway.grpc.pb.h"

namespace gantry::buildkit {

class BridgeService : public moby::buildkit::v1::frontend::LLBBridge::CallbackService {
 public:
  // `frontend`: whose calls these are; nullptr: clients'.
  explicit BridgeService(Shared& shared, std::shared_ptr<FrontendRun> frontend = nullptr)
      : shared_(shared), frontend_(std::move(frontend)) {}

  grpc::ServerUnaryReactor* Ping(grpc::CallbackServerContext* context,
                                 const moby::buildkit::v1::frontend::PingRequest* request,
                                 moby::buildkit::v1::frontend::PongResponse* response) override;
  grpc::ServerUnaryReactor* Solve(grpc::CallbackServerContext* context,
                                  const moby::buildkit::v1::frontend::SolveRequest* request,
                                  moby::buildkit::v1::frontend::SolveResponse* response) override;
  grpc::ServerUnaryReactor* ResolveImageConfig(
      grpc::CallbackServerContext* context,
      const moby::buildkit::v1::frontend::ResolveImageConfigRequest* request,
      moby::buildkit::v1::frontend::ResolveImageConfigResponse* response) override;
  grpc::ServerUnaryReactor* ResolveSourceMeta(
      grpc::CallbackServerContext* context,
      const moby::buildkit::v1::frontend::ResolveSourceMetaRequest* request,
      moby::buildkit::v1::frontend::ResolveSourceMetaResponse* response) override;
  grpc::ServerUnaryReactor* ReadFile(
      grpc::CallbackServerContext* context,
      const moby::buildkit::v1::frontend::ReadFileRequest* request,
      moby::buildkit::v1::frontend::ReadFileResponse* response) override;
  grpc::ServerUnaryReactor* ReadDir(
      grpc::CallbackServerContext* context,
      const moby::buildkit::v1::frontend::ReadDirRequest* request,
      moby::buildkit::v1::frontend::ReadDirResponse* response) override;
  grpc::ServerUnaryReactor* StatFile(
      grpc::CallbackServerContext* context,
      const moby::buildkit::v1::frontend::StatFileRequest* request,
      moby::buildkit::v1::frontend::StatFileResponse* response) override;
  grpc::ServerUnaryReactor* Evaluate(
      grpc::CallbackServerContext* context,
      const moby::buildkit::v1::frontend::EvaluateRequest* request,
      moby::buildkit::v1::frontend::EvaluateResponse* response) override;
  grpc::ServerUnaryReactor* Inputs(grpc::CallbackServerContext* context,
                                   const moby::buildkit::v1::frontend::InputsRequest* request,
                                   moby::buildkit::v1::frontend::InputsResponse* response) override;
  grpc::ServerUnaryReactor* Return(grpc::CallbackServerContext* context,
                                   const moby::buildkit::v1::frontend::ReturnRequest* request,
                                   moby::buildkit::v1::frontend::ReturnResponse* response) override;

  grpc::ServerUnaryReactor* Warn(grpc::CallbackServerContext* context,
                                 const moby::buildkit::v1::frontend::WarnRequest* request,
                                 moby::buildkit::v1::frontend::WarnResponse* response) override;
  grpc::ServerUnaryReactor* NewContainer(
      grpc::CallbackServerContext* context,
      const moby::buildkit::v1::frontend::NewContainerRequest* request,
      moby::buildkit::v1::frontend::NewContainerResponse* response) override;
  grpc::ServerUnaryReactor* ReleaseContainer(
      grpc::CallbackServerContext* context,
      const moby::buildkit::v1::frontend::ReleaseContainerRequest* request,
      moby::buildkit::v1::frontend::ReleaseContainerResponse* response) override;
  grpc::ServerBidiReactor<ExecMessage, ExecMessage>* ExecProcess(
      grpc::CallbackServerContext* context) override;
  grpc::ServerUnaryReactor* ReadFileContainer(
      grpc::CallbackServerContext* context,
      const moby::buildkit::v1::frontend::ReadFileRequest* request,
      moby::buildkit::v1::frontend::ReadFileResponse* response) override;
  grpc::ServerUnaryReactor* ReadDirContainer(
      grpc::CallbackServerContext* context,
      const moby::buildkit::v1::frontend::ReadDirRequest* request,
      moby::buildkit::v1::frontend::ReadDirResponse* response) override;
  grpc::ServerUnaryReactor* StatFileContainer(
      grpc::CallbackServerContext* context,
      const moby::buildkit::v1::frontend::StatFileRequest* request,
      moby::buildkit::v1::frontend::StatFileResponse* response) override;

 private:
  // Who calls.
  struct Caller {
    std::shared_ptr<Job> job;
    std::shared_ptr<FrontendRun> frontend;  // nullptr: a client
    ErrorDetails* details = nullptr;        // of the call's error
    int depth() const { return frontend == nullptr ? 0 : frontend->depth(); }
    GatewayContainers& containers() const {
      return frontend == nullptr ? job->containers() : frontend->containers();
    }
  };
  // May wait for a build that is about to begin.
  std::function<Result<Caller>()> FindCaller(const grpc::CallbackServerContext& context) const;
  using Work = std::function<Result<>(const Caller& caller, const StopToken& stop)>;
  // `work` for the front end, or with the build that the call names.
  grpc::ServerUnaryReactor* WithCaller(grpc::CallbackServerContext* context, Work work);

  Shared& shared_;
  const std::shared_ptr<FrontendRun> frontend_;
};

}  // namespace gantry::buildkit
