// SPDX-License-Identifier: Apache-2.0
#include <google/protobuf/empty.pb.h>

#include <deque>

#include "containerd/parts.h"
#include "containerd/rpc.h"
#include "containerd/services/streaming/v1/streaming.grpc.pb.h"
#include "containerd/streams.h"

namespace gantry::containerd {
namespace {

namespace streaming_api = ::containerd::services::streaming::v1;
using google::protobuf::Any;

// Messages that have come and were not taken; then the client is read no further.
constexpr size_t kMaxWaiting = 16;

class StreamState;

using Reactor = grpc::ServerBidiReactor<Any, Any>;

// gRPC's side of a stream. The state is shared with the user of the stream and outlives it.
class StreamReactor : public Reactor {
 public:
  StreamReactor(Parts* parts, Result<Caller> caller);
  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

 private:
  std::shared_ptr<StreamState> state_;
};

class StreamState : public Stream, public std::enable_shared_from_this<StreamState> {
 public:
  StreamState(Parts* parts, std::string ns, StreamReactor* reactor)
      : parts_(parts), ns_(std::move(ns)), reactor_(reactor) {}

  Result<> Send(const google::protobuf::Message& message) override {
    MutexLock lock(mutex_);
    while (writing_ && !gone_) changed_.Wait(mutex_);
    if (gone_ || closing_) return Gone();
    BeginWrite(PackAny(message));
    return {};
  }

  Result<std::optional<Any>> Receive() override {
    MutexLock lock(mutex_);
    while (waiting_.empty() && !half_closed_ && !gone_) changed_.Wait(mutex_);
    if (gone_) return Gone();
    if (waiting_.empty()) return std::optional<Any>();
    Any any = std::move(waiting_.front());
    waiting_.pop_front();
    BeginRead();
    return std::optional<Any>(std::move(any));
  }

  void Close() override {
    MutexLock lock(mutex_);
    closing_ = true;
    EndIfIdle();
  }

  void OnRead(bool ok) {
    bool first = false;
    Any message;
    {
      MutexLock lock(mutex_);
      reading_ = false;
      if (!ok) {
        half_closed_ = true;
        // One that is half closed before it has a name will never be used.
        if (!named_) closing_ = true;
        EndIfIdle();
        changed_.NotifyAll();
        return;
      }
      first = !named_;
      if (first) {
        message = incoming_;
      } else {
        waiting_.push_back(std::move(incoming_));
        BeginRead();
        changed_.NotifyAll();
      }
    }
    if (first) Open(message);
  }
  void OnWritten(bool ok) {
    MutexLock lock(mutex_);
    writing_ = false;
    if (!ok) gone_ = true;
    EndIfIdle();
    changed_.NotifyAll();
  }
  void OnGone() {
    MutexLock lock(mutex_);
    gone_ = true;
    EndIfIdle();
    changed_.NotifyAll();
  }
  void OnDone() {
    {
      MutexLock lock(mutex_);
      reactor_ = nullptr;
      gone_ = true;
      changed_.NotifyAll();
    }
    parts_->streams->Remove(ns_, id_);
  }
  void Begin() {
    MutexLock lock(mutex_);
    BeginRead();
  }

 private:
  static Error Gone() { return Error(ErrorKind::kCancelled, "the stream's client is gone"); }

  // The first message names the stream; it is answered once the stream can be used.
  void Open(const Any& message) {
    streaming_api::StreamInit init;
    Result<> added = !UnpackAny(message, &init)
                         ? InvalidArgument("first message of a stream must be StreamInit")
                         : parts_->streams->Add(ns_, init.id(), shared_from_this());
    MutexLock lock(mutex_);
    if (!added.ok()) {
      status_ = ToStatus(added.error());
      closing_ = true;
      return EndIfIdle();
    }
    named_ = true;
    id_ = init.id();
    if (!writing_ && !gone_) BeginWrite(PackAny(google::protobuf::Empty()));
    BeginRead();
    EndIfIdle();
  }

  void BeginRead() REQUIRES(mutex_) {
    if (reading_ || half_closed_ || gone_ || finished_ || waiting_.size() >= kMaxWaiting) return;
    reading_ = true;
    reactor_->StartRead(&incoming_);
  }
  void BeginWrite(Any any) REQUIRES(mutex_) {
    outgoing_ = std::move(any);
    writing_ = true;
    reactor_->StartWrite(&outgoing_);
  }
  void EndIfIdle() REQUIRES(mutex_) {
    if (finished_ || writing_ || !(closing_ || gone_)) return;
    finished_ = true;
    reactor_->Finish(status_);
  }

  Parts* parts_;
  const std::string ns_;
  std::string id_;  // set once, before anybody else knows the stream
  Mutex mutex_;
  CondVar changed_;
  StreamReactor* reactor_ GUARDED_BY(mutex_);
  Any incoming_ GUARDED_BY(mutex_);
  Any outgoing_ GUARDED_BY(mutex_);
  std::deque<Any> waiting_ GUARDED_BY(mutex_);
  grpc::Status status_ GUARDED_BY(mutex_);
  bool named_ GUARDED_BY(mutex_) = false;
  bool reading_ GUARDED_BY(mutex_) = false;
  bool writing_ GUARDED_BY(mutex_) = false;
  bool half_closed_ GUARDED_BY(mutex_) = false;
  bool closing_ GUARDED_BY(mutex_) = false;
  bool gone_ GUARDED_BY(mutex_) = false;
  bool finished_ GUARDED_BY(mutex_) = false;
};

StreamReactor::StreamReactor(Parts* parts, Result<Caller> caller) {
  if (!caller.ok()) {
    Finish(ToStatus(caller.error()));
    return;
  }
  state_ = std::make_shared<StreamState>(parts, caller->ns, this);
  state_->Begin();
}
void StreamReactor::OnReadDone(bool ok) { state_->OnRead(ok); }
void StreamReactor::OnWriteDone(bool ok) { state_->OnWritten(ok); }
void StreamReactor::OnCancel() {
  if (state_ != nullptr) state_->OnGone();
}
void StreamReactor::OnDone() {
  if (state_ != nullptr) state_->OnDone();
  delete this;
}

class StreamingService : public streaming_api::Streaming::CallbackService {
 public:
  explicit StreamingService(Parts* parts) : parts_(parts) {}

 private:
  Reactor* Stream(Context* context) override {
    return new StreamReactor(parts_, CallerOf(*context));
  }

  Parts* parts_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeStreamingService(Parts* parts) {
  return std::make_unique<StreamingService>(parts);
}

}  // namespace gantry::containerd
