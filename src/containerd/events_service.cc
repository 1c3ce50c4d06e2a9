// SPDX-License-Identifier: Apache-2.0
#include <deque>

#include "containerd/event_exchange.h"
#include "containerd/parts.h"
#include "containerd/rpc.h"
#include "containerd/services/events/v1/events.grpc.pb.h"

namespace gantry::containerd {
namespace {

namespace events_api = ::containerd::services::events::v1;

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
      Context*, const events_api::SubscribeRequest* request) override {
    auto filters = Filters::ParseAll(request->filters());
    if (!filters.ok()) {
      return new ListReactor<::containerd::types::Envelope>({}, ToStatus(filters.error()));
    }
    return new SubscribeReactor(parts_->events, *std::move(filters));
  }

  Parts* parts_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeEventsService(Parts* parts) {
  return std::make_unique<EventsService>(parts);
}

}  // namespace gantry::containerd
