// SPDX-License-Identifier: Apache-2.0
#include "build_client/agent.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <cerrno>

#include "base/io.h"
#include "formats/protobuf_wire.h"
#include "moby/sshforward/ssh.plain.h"
#include "wire/http_client.h"

namespace gantry::build_client {
namespace {

using Bytes = plain::moby::sshforward::v1::BytesMessage;

class Forward {
 public:
  Forward(EventLoop& loop, wire::GrpcCall& call, UniqueFd agent)
      : loop_(loop), call_(call), agent_(std::move(agent)) {}
  ~Forward() { Unwatch(); }
  Forward(const Forward&) = delete;
  Forward& operator=(const Forward&) = delete;

  Result<> Begin() {
    return loop_.Watch(agent_, EPOLLIN, [this](uint32_t) { Read(); });
  }
  // A request of the agent's protocol is small, and it reads each whole.
  void Take(std::string_view message) {
    auto bytes = formats::ProtoDecode<Bytes>(message);
    if (!bytes.ok()) return End(bytes.error());
    Result<> written = WriteAll(agent_, bytes->data);
    if (!written.ok()) End(written.error());
  }
  void EndOfRequests() { (void)::shutdown(agent_.get(), SHUT_WR); }
  void Unwatch() {
    if (std::exchange(ended_, true)) return;
    loop_.Unwatch(agent_);
  }

 private:
  void Read() {
    char buffer[16384];
    ssize_t size = ::recv(agent_.get(), buffer, sizeof buffer, MSG_DONTWAIT);
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (size <= 0) return End({});
    Bytes bytes;
    bytes.data.assign(buffer, static_cast<size_t>(size));
    call_.Send(formats::ProtoEncode(bytes));
  }
  void End(const Result<>& status) {
    if (ended_) return;
    Unwatch();
    call_.Finish(status);
  }

  EventLoop& loop_;
  wire::GrpcCall& call_;
  UniqueFd agent_;
  bool ended_ = false;
};

Result<UniqueFd> Connect(const std::string& path) {
  auto connection = TRY(wire::HttpConnection::Connect({wire::Endpoint::Scheme::kUnix, path, ""}));
  return std::move(connection).Hijack().socket;
}

}  // namespace

void ForwardAgent(EventLoop& loop, const std::shared_ptr<wire::GrpcCall>& call,
                  const std::string& socket) {
  auto agent = Connect(socket);
  if (!agent.ok()) return call->Finish(agent.error());
  auto forward = std::make_shared<Forward>(loop, *call, *std::move(agent));
  Result<> begun = forward->Begin();
  if (!begun.ok()) return call->Finish(begun);
  call->on_message = [forward](std::string_view message) { forward->Take(message); };
  call->on_last_message = [forward] { forward->EndOfRequests(); };
  call->on_end = [forward](const Result<>&) { forward->Unwatch(); };
}

}  // namespace gantry::build_client
