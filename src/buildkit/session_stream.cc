// SPDX-License-Identifier: Apache-2.0
#include "buildkit/session_stream.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <memory>
#include <string>
#include <utility>

#include "base/mutex.h"
#include "buildkit/rpc.h"
#include "wire/socket_io.h"

namespace gantry::buildkit {
namespace {

using SessionPiece = moby::buildkit::v1::BytesMessage;

constexpr const char* kSessionId = "x-docker-expose-session-uuid";
constexpr const char* kSessionKey = "x-docker-expose-session-sharedkey";
constexpr const char* kSessionMethod = "x-docker-expose-session-grpc-method";
constexpr size_t kPieceOfSession = size_t{32} << 10;

// One message each way is under way; workers do what may block. Deletes itself.
class SessionStream : public grpc::ServerBidiReactor<SessionPiece, SessionPiece> {
 public:
  static SessionStream* Start(Shared& shared, const grpc::CallbackServerContext& context) {
    std::shared_ptr<SessionStream> stream(new SessionStream(shared.workers));
    stream->self_ = stream;
    Result<> begun = stream->Begin(shared, context);
    if (!begun.ok()) {
      stream->End(ToStatus(begun.error()));
      return stream.get();
    }
    stream->ReadNext();
    stream->Send();
    return stream.get();
  }

  void OnReadDone(bool ok) override {
    if (!ok) return HangUp();
    workers_.Run([stream = self_] {
      Result<> sent = wire::SendAll(stream->socket_, stream->received_.data());
      if (!sent.ok()) return stream->HangUp();
      stream->ReadNext();
    });
  }
  void OnWriteDone(bool ok) override {
    if (!ok) return HangUp();
    Send();
  }
  void OnCancel() override { HangUp(); }
  void OnDone() override { self_.reset(); }

 private:
  explicit SessionStream(wire::WorkerPool& workers) : workers_(workers) {}

  Result<> Begin(Shared& shared, const grpc::CallbackServerContext& context) {
    SessionHead head;
    for (const auto& [key, value] : context.client_metadata()) {
      std::string text(value.data(), value.size());
      if (key == kSessionId) head.id = text;
      if (key == kSessionKey) head.shared_key = text;
      if (key == kSessionMethod) head.methods.insert(std::move(text));
    }
    if (head.id.empty()) return InvalidArgument("a session needs an id");
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0) {
      return ErrnoError("making a session's connection");
    }
    socket_ = UniqueFd(ends[0]);
    return shared.sessions.Add(std::move(head), UniqueFd(ends[1]));
  }

  void ReadNext() {
    MutexLock lock(mutex_);
    if (!ended_) StartRead(&received_);
  }

  // The next bytes for the client.
  void Send() {
    workers_.Run([stream = self_] {
      char buffer[kPieceOfSession];
      for (;;) {
        ssize_t size = ::recv(stream->socket_.get(), buffer, sizeof buffer, 0);
        if (size < 0 && errno == EINTR) continue;
        if (size < 0 && errno == EAGAIN) {
          wire::WorkerPool::Blocked blocked;
          pollfd poll{stream->socket_.get(), POLLIN, 0};
          (void)::poll(&poll, 1, -1);
          continue;
        }
        if (size <= 0) return stream->End(grpc::Status::OK);
        stream->sent_.set_data(buffer, static_cast<size_t>(size));
        return stream->StartWrite(&stream->sent_);
      }
    });
  }

  // Both who read and who write see the end; Send ends the call.
  void HangUp() { (void)::shutdown(socket_.get(), SHUT_RDWR); }

  void End(const grpc::Status& status) {
    MutexLock lock(mutex_);
    if (!std::exchange(ended_, true)) Finish(status);
  }

  std::shared_ptr<SessionStream> self_;  // until gRPC is done with it
  wire::WorkerPool& workers_;
  UniqueFd socket_;
  SessionPiece received_;
  SessionPiece sent_;
  Mutex mutex_;
  bool ended_ GUARDED_BY(mutex_) = false;
};

}  // namespace

grpc::ServerBidiReactor<SessionPiece, SessionPiece>* ServeSessionStream(
    Shared& shared, const grpc::CallbackServerContext& context) {
  return SessionStream::Start(shared, context);
}

}  // namespace gantry::buildkit
