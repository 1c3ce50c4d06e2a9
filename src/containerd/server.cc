// SPDX-License-Identifier: Apache-2.0
#include "containerd/server.h"

#include <absl/synchronization/mutex.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/impl/service_type.h>
#include <grpcpp/support/server_interceptor.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <future>
#include <thread>

namespace gantry::containerd {
namespace {

// Long enough for a task to be created; whoever follows events or waits is cut off after it.
constexpr auto kStopPatience = std::chrono::milliseconds(250);
constexpr auto kCancelPatience = std::chrono::seconds(2);

}  // namespace

struct Server::State {
  std::vector<std::unique_ptr<grpc::Service>> services;
  std::unique_ptr<grpc::Server> server;
  std::string address;
};

Server::Server(std::shared_ptr<State> state) : state_(std::move(state)) {}

Result<std::unique_ptr<Server>> Server::Start(
    const Options& options, CallMetrics* calls,
    std::vector<std::unique_ptr<grpc::Service>> services) {
  auto state = std::make_shared<State>();
  state->services = std::move(services);
  state->address = options.address;
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::EnableDefaultHealthCheckService(false);
  // gRPC's own locks: a distribution's build may be one that follows the order of each.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  grpc::ServerBuilder builder;
  builder.SetMaxReceiveMessageSize(options.max_receive_bytes);
  builder.SetMaxSendMessageSize(options.max_send_bytes);
  std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>> interceptors;
  interceptors.push_back(calls->MakeInterceptors());
  builder.experimental().SetInterceptorCreators(std::move(interceptors));
  // Clients ping as often as Go's default allows; nobody is cut off for it.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 1000);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PING_STRIKES, 0);
  // Archives come in messages of this size.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_FRAME_SIZE, 256 << 10);
  builder.AddListeningPort("unix:" + options.address, grpc::InsecureServerCredentials());
  for (auto& service : state->services) builder.RegisterService(service.get());
  // The socket is born with its mode, so that there is no moment in which others may connect.
  mode_t old_mask = ::umask(0117);
  state->server = builder.BuildAndStart();
  ::umask(old_mask);
  if (state->server == nullptr) return Unavailable("listening on '{}': failed", options.address);
  bool owned = options.grpc_uid == 0 && options.grpc_gid == 0;
  auto uid = static_cast<uid_t>(options.grpc_uid);
  auto gid = static_cast<gid_t>(options.grpc_gid);
  if (!owned && ::chown(options.address.c_str(), uid, gid) != 0) {
    return ErrnoError("changing the owner of '{}'", options.address);
  }
  return std::unique_ptr<Server>(new Server(std::move(state)));
}

std::shared_ptr<grpc::Channel> Server::OwnChannel() const {
  return state_->server->InProcessChannel(grpc::ChannelArguments());
}

bool Server::Stop() {
  if (state_->server == nullptr) return true;
  ::unlink(state_->address.c_str());
  // Shutdown waits for every call, however long; nothing says so before.
  auto ended = std::make_shared<std::promise<void>>();
  auto future = ended->get_future();
  std::thread([state = state_, ended] {
    state->server->Shutdown(std::chrono::system_clock::now() + kStopPatience);
    state->server->Wait();
    ended->set_value();
  }).detach();
  if (future.wait_for(kStopPatience + kCancelPatience) != std::future_status::ready) return false;
  state_->server.reset();
  return true;
}

Server::~Server() { (void)Stop(); }

}  // namespace gantry::containerd
