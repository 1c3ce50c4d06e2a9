// SPDX-License-Identifier: Apache-2.0
#include "buildkit/server.h"

#include <grpcpp/grpcpp.h>
#include <grpcpp/server_posix.h>

#include <utility>

#include "base/log.h"
#include "base/mutex.h"
#include "buildkit/bridge_service.h"
#include "buildkit/control_service.h"
#include "buildkit/job.h"
#include "buildkit/session.h"

namespace gantry::buildkit {

struct Server::Parts {
  Parts(engine::Engine& engine, engine::Execs& execs, build::Builds& builds,
        wire::WorkerPool& workers)
      : history(engine.options().root + "/engine/build-history"),
        shared{engine, execs, builds, workers, jobs, sessions, uploads, history},
        control(shared),
        bridge(shared) {}

  Jobs jobs;
  Sessions sessions;
  Uploads uploads;
  History history;
  Shared shared;
  ControlService control;
  BridgeService bridge;
  Mutex mutex;
  // Made with the first connection: most daemons never see one.
  std::unique_ptr<grpc::Server> grpc GUARDED_BY(mutex);
};

Server::Server(engine::Engine& engine, engine::Execs& execs, build::Builds& builds,
               wire::WorkerPool& workers)
    : parts_(std::make_unique<Parts>(engine, execs, builds, workers)) {}

Server::~Server() = default;

Result<> Server::Serve(UniqueFd connection) {
  MutexLock lock(parts_->mutex);
  if (!parts_->grpc) {
    TRY(parts_->history.Open());
    grpc::ServerBuilder builder;
    builder.RegisterService(&parts_->control);
    builder.RegisterService(&parts_->bridge);
    builder.SetMaxReceiveMessageSize(16 << 20);
    parts_->grpc = builder.BuildAndStart();
    if (!parts_->grpc) return Internal("the gRPC server does not start");
  }
  grpc::AddInsecureChannelFromFd(parts_->grpc.get(), connection.Release());
  return {};
}

Result<std::string> Server::Build(HttpBuild build,
                                  const std::function<void(const std::string& update)>& tell,
                                  const StopToken& stop) {
  return RunHttpBuild(parts_->shared, std::move(build), tell, stop);
}

Result<> Server::Upload(const std::string& ref, ByteSource& body) {
  return parts_->uploads.Offer(ref, body, kBeginBound);
}

Result<> Server::AddSession(SessionHead head, UniqueFd connection) {
  return parts_->sessions.Add(std::move(head), std::move(connection));
}

}  // namespace gantry::buildkit
