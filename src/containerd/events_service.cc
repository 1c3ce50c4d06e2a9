// SPDX-License-Identifier: Apache-2.0
#include <deque>

#include "containerd/event_exchange.h"
#include "containerd/event_log.h"
#include "containerd/parts.h"
#include "containerd/rpc.h"
#include "containerd/services/events/v1/events.grpc.pb.h"

namespace gantry::containerd {
namespace {

namespace events_api = ::containerd::services::events::v1;

// Of a call that wants cursors: the last one that it has seen, "" or "oldest".
constexpr const char* kCursorHeader = "gantry-events-cursor";
// A client that is this many events behind is cut off: it subscribes again and looks at the state.
constexpr size_t kMaxQueued = 16384;

// One subscription: no thread, a queue of envelopes that are shared by all subscribers.
class SubscribeReactor : public grpc::ServerWriteReactor<::containerd::types::Envelope>,
                         public EventExchange::Subscriber {
 public:
  SubscribeReactor(EventExchange* exchange, Filters filters)
      : exchange_(exchange), filters_(std::move(filters)) {
    // The client knows by the headers that it misses nothing from now on.
    exchange_->Subscribe(this);
    StartSendInitialMetadata();
  }

  const Filters& filters() const override { return filters_; }

  void Deliver(const Envelope& envelope) override {
    MutexLock lock(mutex_);
    if (finished_) return;
    if (queue_.size() >= kMaxQueued) {
      return End(
          grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, "subscriber is too far behind"));
    }
    queue_.push_back(envelope);
    if (queue_.size() == 1) StartWrite(queue_.front().get());
  }
  void OnWriteDone(bool ok) override {
    MutexLock lock(mutex_);
    if (finished_) return;
    if (!ok) return End(grpc::Status(grpc::StatusCode::CANCELLED, "client is gone"));
    queue_.pop_front();
    if (!queue_.empty()) StartWrite(queue_.front().get());
  }
  void OnCancel() override {
    MutexLock lock(mutex_);
    End(grpc::Status(grpc::StatusCode::CANCELLED, "client is gone"));
  }
  void OnDone() override {
    exchange_->Unsubscribe(this);
    delete this;
  }

 private:
  void End(const grpc::Status& status) REQUIRES(mutex_) {
    if (finished_) return;
    finished_ = true;
    Finish(status);
  }

  EventExchange* exchange_;
  const Filters filters_;
  Mutex mutex_;
  bool finished_ GUARDED_BY(mutex_) = false;
  // The first one is being written.
  std::deque<Envelope> queue_ GUARDED_BY(mutex_);
};

// A subscription that began with a cursor: it reads the log, from there on and for as long as it
// lasts, and a delivery only wakes it. So it has no queue, and can't be too far behind unless the
// log itself has moved on. A worker reads, and nobody waits while there is nothing to read.
class CursorReactor : public grpc::ServerWriteReactor<::containerd::types::Envelope>,
                      public EventExchange::Subscriber {
 public:
  CursorReactor(Context* context, Parts* parts, Filters filters, uint64_t next)
      : parts_(parts), filters_(std::move(filters)), next_(next) {
    context->AddInitialMetadata(kCursorHeader, parts_->events->log()->CursorAfter(next - 1));
    parts_->events->Subscribe(this);
    StartSendInitialMetadata();
    MutexLock lock(mutex_);
    Wake();
  }

  // What matches is decided when it is read.
  const Filters& filters() const override { return kEverything; }
  void Deliver(const Envelope&) override {
    MutexLock lock(mutex_);
    Wake();
  }
  void OnWriteDone(bool ok) override {
    MutexLock lock(mutex_);
    if (!ok) return End(grpc::Status(grpc::StatusCode::CANCELLED, "client is gone"));
    batch_.pop_front();
    if (finishing_) return FinishNow();
    if (!batch_.empty()) return StartWrite(&batch_.front());
    reading_ = true;
    parts_->workers->Run([this] { Read(); });
  }
  void OnCancel() override {
    MutexLock lock(mutex_);
    End(grpc::Status(grpc::StatusCode::CANCELLED, "client is gone"));
  }
  void OnDone() override {
    parts_->events->Unsubscribe(this);
    delete this;
  }

 private:
  static constexpr size_t kBatchBytes = size_t{256} << 10;
  static inline const Filters kEverything;

  void Wake() REQUIRES(mutex_) {
    woken_ = true;
    if (reading_ || !batch_.empty() || finishing_) return;
    reading_ = true;
    parts_->workers->Run([this] { Read(); });
  }

  // On a worker, one at a time.
  void Read() {
    while (true) {
      {
        MutexLock lock(mutex_);
        woken_ = false;
        if (finishing_) {
          reading_ = false;
          return FinishNow();
        }
      }
      auto events = parts_->events->log()->Read(next_, kBatchBytes);
      std::deque<::containerd::types::Envelope> batch;
      if (events.ok()) {
        for (auto& event : *events) {
          auto lookup = [&](const FieldPath& path) { return EnvelopeField(event, path); };
          bool matches = filters_.Matches(lookup);
          if (matches) {
            event.set_cursor(parts_->events->log()->CursorAfter(next_));
            batch.push_back(std::move(event));
          }
          ++next_;
        }
      }
      MutexLock lock(mutex_);
      bool idle = events.ok() && events->empty() && !woken_;
      if (events.ok() && batch.empty() && !idle && !finishing_) continue;
      reading_ = false;
      if (!events.ok()) return End(ToStatus(events.error()));
      if (finishing_) return FinishNow();
      if (idle) return;
      batch_ = std::move(batch);
      return StartWrite(&batch_.front());
    }
  }

  void End(const grpc::Status& status) REQUIRES(mutex_) {
    if (finishing_) return;
    finishing_ = true;
    status_ = status;
    // A worker that reads, or a write on its way, still uses this object: they finish it then.
    if (!reading_) FinishNow();
  }
  void FinishNow() REQUIRES(mutex_) {
    if (finished_) return;
    finished_ = true;
    Finish(status_);
  }

  Parts* parts_;
  const Filters filters_;
  uint64_t next_;  // of the one who reads
  Mutex mutex_;
  bool woken_ GUARDED_BY(mutex_) = false;
  bool reading_ GUARDED_BY(mutex_) = false;
  bool finishing_ GUARDED_BY(mutex_) = false;
  bool finished_ GUARDED_BY(mutex_) = false;
  grpc::Status status_ GUARDED_BY(mutex_);
  // The first one is being written.
  std::deque<::containerd::types::Envelope> batch_ GUARDED_BY(mutex_);
};

class EventsService : public events_api::Events::CallbackService {
 public:
  explicit EventsService(Parts* parts) : parts_(parts) {}

 private:
  grpc::ServerUnaryReactor* Publish(Context* context, const events_api::PublishRequest* request,
                                    google::protobuf::Empty*) override {
    return AnswerCaller(context, [&](const Caller& caller) -> Result<> {
      ::containerd::types::Envelope envelope;
      *envelope.mutable_timestamp() = ToProto(Now());
      envelope.set_namespace_(caller.ns);
      envelope.set_topic(request->topic());
      *envelope.mutable_event() = request->event();
      return parts_->events->Forward(std::move(envelope));
    });
  }

  grpc::ServerUnaryReactor* Forward(Context* context, const events_api::ForwardRequest* request,
                                    google::protobuf::Empty*) override {
    return Answer(context,
                  [&]() -> Result<> { return parts_->events->Forward(request->envelope()); });
  }

  grpc::ServerWriteReactor<::containerd::types::Envelope>* Subscribe(
      Context* context, const events_api::SubscribeRequest* request) override {
    using Refusal = ListReactor<::containerd::types::Envelope>;
    auto filters = Filters::ParseAll(request->filters());
    if (!filters.ok()) return new Refusal({}, ToStatus(filters.error()));
    auto cursor = context->client_metadata().find(kCursorHeader);
    if (cursor == context->client_metadata().end() || parts_->events->log() == nullptr) {
      return new SubscribeReactor(parts_->events, *std::move(filters));
    }
    auto next = parts_->events->log()->Resolve({cursor->second.data(), cursor->second.size()});
    if (!next.ok()) return new Refusal({}, ToStatus(next.error()));
    return new CursorReactor(context, parts_, *std::move(filters), *next);
  }

  Parts* parts_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeEventsService(Parts* parts) {
  return std::make_unique<EventsService>(parts);
}

}  // namespace gantry::containerd
