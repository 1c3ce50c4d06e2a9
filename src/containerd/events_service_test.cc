// SPDX-License-Identifier: Apache-2.0
//
// Subscriptions through gRPC in this process: a thousand at once, live and by the log.
#include <grpcpp/grpcpp.h>
#include <grpcpp/impl/service_type.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <future>
#include <memory>

#include "base/random.h"
#include "containerd/event_exchange.h"
#include "containerd/event_log.h"
#include "containerd/parts.h"
#include "containerd/services/events/v1/events.grpc.pb.h"
#include "wire/worker_pool.h"

namespace gantry::containerd {
namespace {

namespace events_api = ::containerd::services::events::v1;

constexpr int kSubscribers = 1000;
constexpr int kEvents = 40;
constexpr auto kPatience = std::chrono::seconds(60);

// Reads until it has `wanted` events, and cancels then.
class Reader : public grpc::ClientReadReactor<::containerd::types::Envelope> {
 public:
  Reader(events_api::Events::Stub* stub, int wanted, bool cursor) : wanted_(wanted) {
    if (cursor) context_.AddMetadata("gantry-events-cursor", "");
    stub->async()->Subscribe(&context_, &request_, this);
    StartRead(&envelope_);
    StartCall();
  }
  void OnReadInitialMetadataDone(bool) override { subscribed_.set_value(); }
  void OnReadDone(bool ok) override {
    if (!ok) return;
    topics_.push_back(envelope_.topic());
    if (static_cast<int>(topics_.size()) == wanted_) return context_.TryCancel();
    StartRead(&envelope_);
  }
  void OnDone(const grpc::Status&) override {
    auto done = done_;  // this object may be gone as soon as somebody knows
    done->set_value();
  }

  bool Wait() { return done_future_.wait_for(kPatience) == std::future_status::ready; }
  bool WaitSubscribed() {
    return subscribed_future_.wait_for(kPatience) == std::future_status::ready;
  }
  void Cancel() { context_.TryCancel(); }
  const std::vector<std::string>& topics() const { return topics_; }

 private:
  const int wanted_;
  grpc::ClientContext context_;
  events_api::SubscribeRequest request_;
  ::containerd::types::Envelope envelope_;
  std::vector<std::string> topics_;
  std::promise<void> subscribed_;
  std::shared_ptr<std::promise<void>> done_ = std::make_shared<std::promise<void>>();
  std::future<void> subscribed_future_ = subscribed_.get_future();
  std::future<void> done_future_ = done_->get_future();
};

class EventsServiceTest : public ::testing::TestWithParam<bool> {
 protected:
  EventsServiceTest() {
    log_ = std::move(EventLog::Open(root_)).value();
    events_.SetLog(log_.get());
    parts_.events = &events_;
    parts_.workers = &workers_;
    service_ = MakeEventsService(&parts_);
    grpc::ServerBuilder builder;
    builder.RegisterService(service_.get());
    server_ = builder.BuildAndStart();
    stub_ = events_api::Events::NewStub(server_->InProcessChannel(grpc::ChannelArguments()));
  }
  ~EventsServiceTest() override {
    server_->Shutdown(std::chrono::system_clock::now());
    std::filesystem::remove_all(root_);
  }

  const std::string root_ = ::testing::TempDir() + "events-service-" + RandomHex(4);
  std::unique_ptr<EventLog> log_;
  EventExchange events_;
  wire::WorkerPool workers_{8};
  Parts parts_{};
  std::unique_ptr<grpc::Service> service_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<events_api::Events::Stub> stub_;
};

TEST_P(EventsServiceTest, AThousandSubscribersGetAllInOrder) {
  std::vector<std::unique_ptr<Reader>> readers;
  for (int i = 0; i < kSubscribers; ++i) {
    readers.push_back(std::make_unique<Reader>(stub_.get(), kEvents, GetParam()));
  }
  for (auto& reader : readers) ASSERT_TRUE(reader->WaitSubscribed());
  EXPECT_EQ(events_.subscribers(), static_cast<size_t>(kSubscribers));
  std::vector<std::string> published;
  for (int i = 0; i < kEvents; ++i) {
    published.push_back("/event/" + std::to_string(i));
    events_.Publish("test", published.back(), ::containerd::types::Envelope());
  }
  for (auto& reader : readers) {
    bool done = reader->Wait();
    EXPECT_TRUE(done);
    if (!done) {
      reader->Cancel();
      ASSERT_TRUE(reader->Wait());
    }
    ASSERT_EQ(reader->topics(), published);
  }
}

INSTANTIATE_TEST_SUITE_P(LiveAndCursor, EventsServiceTest, ::testing::Bool());

}  // namespace
}  // namespace gantry::containerd
