// SPDX-License-Identifier: Apache-2.0
#include "shim/publisher.h"

#include <algorithm>

#include "base/log.h"

namespace gantry::shim {
namespace {

using namespace std::chrono_literals;
using plain::containerd::services::events::ttrpc::v1::ForwardRequest;

constexpr size_t kMaxQueue = 2048;
constexpr int kMaxRefusals = 5;
constexpr auto kCallTimeout = 5s;

}  // namespace

Publisher::Publisher(EventLoop* loop, std::string address, std::string name_space)
    : loop_(loop), address_(std::move(address)), namespace_(std::move(name_space)) {}

Publisher::~Publisher() { *alive_ = false; }

void Publisher::Publish(std::string_view topic, std::string_view type, std::string event) {
  if (address_.empty()) return;  // run by hand, without a daemon
  ForwardRequest request;
  auto& envelope = request.envelope.emplace();
  envelope.timestamp = formats::ProtoTimestamp::From(WallClock::now());
  envelope.namespace_ = namespace_;
  envelope.topic = topic;
  envelope.event = formats::ProtoAny{std::string(type), std::move(event)};
  if (queue_.size() == kMaxQueue) {
    log::Warning("publishing '{}': {} events wait already, the oldest is dropped", topic,
                 kMaxQueue);
    // The front one may be on its way.
    queue_.erase(queue_.begin() + (in_flight_ ? 1 : 0));
  }
  queue_.push_back(request.Encode());
  SendFront();
}

void Publisher::SendFront() {
  if (in_flight_ || retry_ != 0) return;
  if (queue_.empty()) return CheckFlushed();
  if (client_ == nullptr) {
    auto client = wire::TtrpcClient::Connect(loop_, address_, [this, alive = alive_] {
      if (*alive) client_.reset();
    });
    if (!client.ok()) return Retry();
    client_ = std::move(*client);
  }
  in_flight_ = true;
  client_->CallAsync(plain::containerd::services::events::ttrpc::v1::kEventsService, "Forward",
                     queue_.front(), kCallTimeout,
                     [this, alive = alive_](Result<std::string> result) {
                       if (*alive) OnAnswer(std::move(result));
                     });
}

void Publisher::OnAnswer(Result<std::string> result) {
  in_flight_ = false;
  if (result.ok()) {
    failures_ = refusals_ = 0;
    if (!queue_.empty()) queue_.pop_front();
    return SendFront();
  }
  ErrorKind kind = result.error().kind();
  if (kind == ErrorKind::kUnavailable || kind == ErrorKind::kDeadlineExceeded) {
    client_.reset();
  } else if (++refusals_ == kMaxRefusals) {
    log::Warning("publishing an event: {}", result.error().message());
    refusals_ = 0;
    queue_.pop_front();
    return SendFront();
  }
  Retry();
}

// The daemon is away or in trouble: again after 20 ms, doubling up to 1 s.
void Publisher::Retry() {
  auto delay = std::min<std::chrono::milliseconds>(20ms * (1 << std::min(failures_, 6)), 1000ms);
  ++failures_;
  retry_ = loop_->After(delay, [this, alive = alive_] {
    if (!*alive) return;
    retry_ = 0;
    SendFront();
  });
}

void Publisher::WhenFlushed(std::chrono::milliseconds limit, std::function<void(Flushed)> done) {
  flushed_ = std::move(done);
  if (flush_limit_ != 0) loop_->CancelTimer(flush_limit_);
  flush_limit_ = loop_->After(limit, [this, alive = alive_] {
    if (!*alive) return;
    flush_limit_ = 0;
    if (flushed_) std::exchange(flushed_, nullptr)(Flushed::kNotYet);
  });
  if (retry_ != 0) loop_->CancelTimer(std::exchange(retry_, 0));
  SendFront();
}

void Publisher::CheckFlushed() {
  if (flushed_) std::exchange(flushed_, nullptr)(Flushed::kAll);
}

}  // namespace gantry::shim
