// SPDX-License-Identifier: Apache-2.0
#include "buildkit/agent_forward.h"

#include <grpcpp/grpcpp.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <chrono>
#include <list>
#include <utility>

#include "base/io.h"
#include "base/log.h"
#include "buildkit/rpc.h"
#include "moby/sshforward/ssh.grpc.pb.h"

namespace gantry::buildkit {
namespace {

using moby::sshforward::v1::BytesMessage;

constexpr const char* kAgentKey = "buildkit.ssh.id";
// As many threads as there are connections: what is in a container does not get more of them.
constexpr size_t kMostConnections = 64;
constexpr std::chrono::hours kForever{24 * 365};

}  // namespace

AgentForward::AgentForward(std::shared_ptr<grpc::Channel> channel, std::string agent,
                           UniqueFd listener)
    : channel_(std::move(channel)),
      agent_(std::move(agent)),
      listener_(std::move(listener)),
      stop_(*StopSource::Create()),
      accepting_([this] { Accept(); }) {}

AgentForward::~AgentForward() {
  stop_.RequestStop();
  accepting_.join();
}

void AgentForward::Accept() {
  std::list<std::thread> connections;
  while (WaitFor(listener_, POLLIN, kForever, stop_.token()).ok()) {
    UniqueFd connection(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!connection.valid()) {
      if (errno == EINTR || errno == ECONNABORTED) continue;
      log::Warning("ssh agent of a build step: {}", ErrnoError("accepting").message());
      break;
    }
    if (connections.size() == kMostConnections) {
      connections.front().join();
      connections.pop_front();
    }
    connections.emplace_back(
        [this, made = std::move(connection)]() mutable { Forward(std::move(made)); });
  }
  for (std::thread& connection : connections) connection.join();
}

void AgentForward::Forward(UniqueFd connection) const {
  grpc::ClientContext context;
  context.AddMetadata(kAgentKey, agent_);
  CancelWith cancel(context, stop_.token());
  auto stream = moby::sshforward::v1::SSH::NewStub(channel_)->ForwardAgent(&context);
  std::thread answers([&] {
    BytesMessage message;
    while (stream->Read(&message)) {
      if (!WriteAll(connection, message.data()).ok()) break;
    }
    // The other side reads an end, and so does the loop below.
    ::shutdown(connection.get(), SHUT_RDWR);
  });
  char buffer[16384];
  while (WaitFor(connection, POLLIN, kForever, stop_.token()).ok()) {
    ssize_t size = ::recv(connection.get(), buffer, sizeof buffer, 0);
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) break;
    BytesMessage message;
    message.set_data(buffer, static_cast<size_t>(size));
    if (!stream->Write(message)) break;
  }
  stream->WritesDone();
  // Whoever reads no answers must not hold up the end.
  if (stop_.token().stop_requested()) ::shutdown(connection.get(), SHUT_RDWR);
  answers.join();
  grpc::Status status = stream->Finish();
  if (!status.ok()) log::Debug("ssh agent '{}': {}", agent_, status.error_message());
}

}  // namespace gantry::buildkit
