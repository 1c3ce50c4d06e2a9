// SPDX-License-Identifier: Apache-2.0
//
// moby.buildkit.v1.frontend.LLBBridge: a client (buildx) asks the front end for a result and says
// which one is the build's. A call names its build in the metadata. Any thread.
#pragma once

#include "buildkit/shared.h"
#include "moby/buildkit/gateway.grpc.pb.h"

namespace gantry::buildkit {

class BridgeService : public moby::buildkit::v1::frontend::LLBBridge::CallbackService {
 public:
  explicit BridgeService(Shared& shared) : shared_(shared) {}

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

 private:
  // `work` with the build that the call names.
  grpc::ServerUnaryReactor* WithJob(
      grpc::CallbackServerContext* context,
      std::function<Result<>(const std::shared_ptr<Job>& job, const StopToken& stop)> work);
  // The same for work whose errors have details.
  using DetailedWork = std::function<Result<>(const std::shared_ptr<Job>& job,
                                              const StopToken& stop, ErrorDetails* details)>;
  grpc::ServerUnaryReactor* WithDetails(grpc::CallbackServerContext* context, DetailedWork work);
  Shared& shared_;
};

// What a client wants to be made.
struct Solvable {
  const pb::Definition& definition;  // without operations: a front end makes it
  const std::string& frontend;
  const google::protobuf::Map<std::string, std::string>& options;
  const google::protobuf::Map<std::string, pb::Definition>& inputs;
  ErrorDetails* details;  // gets those of an error
};
struct Solved {
  std::string name;  // of what was made, which the build keeps; "": the metadata is all
  std::map<std::string, std::string> metadata;
};
// Makes it for a build, or answers what is asked of the front end.
Result<Solved> Solve(Shared& shared, const std::shared_ptr<Job>& job, const Solvable& wanted,
                     const StopToken& stop);

}  // namespace gantry::buildkit
