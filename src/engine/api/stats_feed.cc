// SPDX-License-Identifier: Apache-2.0
#include "engine/api/stats_feed.h"

#include <chrono>
#include <memory>
#include <utility>

#include "base/log.h"
#include "engine/stats.h"

namespace gantry::engine::api {
namespace {

using formats::Json;

constexpr std::chrono::seconds kInterval{1};
// docker tells the system with each sample since then.
constexpr int kOsTypeMinor = 52;

// One thing after the other: a sample on a worker, then a timer of the parked loop, then the next.
class StatsFeed : public std::enable_shared_from_this<StatsFeed> {
 public:
  StatsFeed(ApiParts& parts, std::shared_ptr<Container> container, int minor, bool stream)
      : parts_(parts),
        container_(std::move(container)),
        minor_(minor),
        stream_(stream),
        before_(EmptyStats(*container_->record())) {}

  // The next sample as a line; what it is compared with is the one before it.
  Result<std::string> Sample() {
    Json now = TRY(SampleStats(*container_->record()));
    now.Set("precpu_stats", before_["cpu_stats"]);
    now.Set("preread", before_["read"]);
    if (minor_ >= kOsTypeMinor) now.Set("os_type", "linux");
    std::string line = now.Dump() + "\n";
    before_ = std::move(now);
    return line;
  }

  void Begin(std::shared_ptr<wire::ResponseSink> sink, std::string_view first) {
    sink_ = std::move(sink);
    sink_->Write(first);
    // So that the client's end is noticed; the next tick asks.
    sink_->Watch(nullptr);
    WaitForNext();
  }

 private:
  void WaitForNext() {
    parts_.parked.Post([self = shared_from_this()] {
      self->parts_.parked.After(kInterval,
                                [self] { self->parts_.workers.Run([self] { self->OnTick(); }); });
    });
  }

  void OnTick() {
    if (sink_->closed()) return;
    // Of one that has ended there are only zeros to tell, but it may be started again.
    if (container_->record()->state.phase == Phase::kRemoving) return sink_->Finish();
    if (sink_->queued() == 0) {
      Result<std::string> line = Sample();
      if (!line.ok()) {
        log::Debug("statistics of {}: {}", container_->id(), line.error().message());
        return sink_->Finish();
      }
      sink_->Write(*line);
    }
    if (!stream_) return sink_->Finish();
    WaitForNext();
  }

  ApiParts& parts_;
  const std::shared_ptr<Container> container_;
  const int minor_;
  const bool stream_;
  std::shared_ptr<wire::ResponseSink> sink_;
  Json before_;
};

}  // namespace

Result<> GetStats(Call& call) {
  auto container = TRY(call.engine().Find(call.arg()));
  bool stream = call.query().GetBool("stream", true);
  bool one_shot = call.minor >= 41 && call.query().GetBool("one-shot");
  if (one_shot && stream) {
    return InvalidArgument("cannot have stream=true and one-shot=true");
  }
  // Without a stream the first sample is only what the second is compared with.
  bool silent = !stream && !one_shot && container->record()->state.IsAlive();
  auto feed = std::make_shared<StatsFeed>(call.parts, container, call.minor, stream);
  std::string first = TRY(feed->Sample());
  wire::Exchange& exchange = call.exchange;
  exchange.headers().Set("Content-Type", "application/json");
  if (!stream && !silent) return exchange.Respond(200, first);
  std::shared_ptr<wire::ResponseSink> sink = TRY(exchange.Park(200));
  feed->Begin(std::move(sink), silent ? std::string_view() : first);
  return {};
}

}  // namespace gantry::engine::api
