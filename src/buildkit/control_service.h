// SPDX-License-Identifier: Apache-2.0
//
// moby.buildkit.v1.Control: builds, their progress, the cache, what this builder is. Any thread.
#pragma once

#include "buildkit/shared.h"
#include "moby/buildkit/control.grpc.pb.h"

namespace gantry::buildkit {

class ControlService : public moby::buildkit::v1::Control::CallbackService {
 public:
  explicit ControlService(Shared& shared) : shared_(shared) {}

  grpc::ServerUnaryReactor* Solve(grpc::CallbackServerContext* context,
                                  const moby::buildkit::v1::SolveRequest* request,
                                  moby::buildkit::v1::SolveResponse* response) override;
  grpc::ServerWriteReactor<moby::buildkit::v1::StatusResponse>* Status(
      grpc::CallbackServerContext* context,
      const moby::buildkit::v1::StatusRequest* request) override;
  grpc::ServerBidiReactor<moby::buildkit::v1::BytesMessage, moby::buildkit::v1::BytesMessage>*
  Session(grpc::CallbackServerContext* context) override;
  grpc::ServerUnaryReactor* ListWorkers(grpc::CallbackServerContext* context,
                                        const moby::buildkit::v1::ListWorkersRequest* request,
                                        moby::buildkit::v1::ListWorkersResponse* response) override;
  grpc::ServerUnaryReactor* Info(grpc::CallbackServerContext* context,
                                 const moby::buildkit::v1::InfoRequest* request,
                                 moby::buildkit::v1::InfoResponse* response) override;
  grpc::ServerWriteReactor<moby::buildkit::v1::BuildHistoryEvent>* ListenBuildHistory(
      grpc::CallbackServerContext* context,
      const moby::buildkit::v1::BuildHistoryRequest* request) override;
  grpc::ServerUnaryReactor* UpdateBuildHistory(
      grpc::CallbackServerContext* context,
      const moby::buildkit::v1::UpdateBuildHistoryRequest* request,
      moby::buildkit::v1::UpdateBuildHistoryResponse* response) override;
  grpc::ServerUnaryReactor* DiskUsage(grpc::CallbackServerContext* context,
                                      const moby::buildkit::v1::DiskUsageRequest* request,
                                      moby::buildkit::v1::DiskUsageResponse* response) override;
  grpc::ServerWriteReactor<moby::buildkit::v1::UsageRecord>* Prune(
      grpc::CallbackServerContext* context,
      const moby::buildkit::v1::PruneRequest* request) override;

 private:
  // Build, with a record of it.
  Result<> BuildRecorded(const moby::buildkit::v1::SolveRequest& request,
                         moby::buildkit::v1::SolveResponse* response, const StopToken& stop,
                         ErrorDetails* details);
  Result<> Build(const moby::buildkit::v1::SolveRequest& request,
                 moby::buildkit::v1::SolveResponse* response, const StopToken& stop,
                 ErrorDetails* details);
  Shared& shared_;
};

// What this builder is, for ListWorkers and Ping.
void Describe(moby::buildkit::v1::types::WorkerRecord* record);

}  // namespace gantry::buildkit
