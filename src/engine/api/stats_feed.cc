// SPDX-License-Identifier: Apache-2.0
#include "engine/api/stats_feed.h"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <utility>

#include "base/log.h"
#include "engine/stats.h"

namespace gantry::engine::api {
namespace {

using formats::Json;

constexpr std::chrono::seconds kStatsInterval{1};
// docker tells the system with each sample since then.
constexpr int kOsTypeMinor = 52;

// The lines of one sample, each made once: nearly all readers saw the sample before it.
class Lines {
 public:
  Lines(StatsFeeds::Sample now, StatsFeeds::Sample before)
      : now_(std::move(now)), before_(std::move(before)) {}

  std::string For(const StatsFeeds::Reader& reader) {
    if (reader.before != before_) return StatsFeeds::Line(*now_, *reader.before, reader.minor);
    std::string& line = reader.minor >= kOsTypeMinor ? with_os_ : without_os_;
    if (line.empty()) line = StatsFeeds::Line(*now_, *before_, reader.minor);
    return line;
  }

 private:
  const StatsFeeds::Sample now_;
  const StatsFeeds::Sample before_;
  std::string with_os_;
  std::string without_os_;
};

}  // namespace

std::string StatsFeeds::Line(const Json& now, const Json& before, int minor) {
  Json line = now;
  line.Set("precpu_stats", before["cpu_stats"]);
  line.Set("preread", before["read"]);
  if (minor >= kOsTypeMinor) line.Set("os_type", "linux");
  return line.Dump() + "\n";
}

Result<StatsFeeds::Sample> StatsFeeds::Latest(const Container& container) {
  {
    MutexLock lock(mutex_);
    auto found = feeds_.find(container.id());
    if (found != feeds_.end()) return found->second.last;
  }
  return std::make_shared<const Json>(TRY(SampleStats(*container.record())));
}

void StatsFeeds::Join(const std::shared_ptr<Container>& container, Reader reader) {
  // So that the client's end is noticed; the next tick asks.
  reader.sink->Watch(nullptr);
  {
    MutexLock lock(mutex_);
    auto [feed, is_new] = feeds_.try_emplace(container->id());
    if (is_new) feed->second = {container, reader.before, {}};
    feed->second.readers.push_back(std::move(reader));
    if (!is_new) return;
  }
  WaitForNext(container->id());
}

void StatsFeeds::WaitForNext(const std::string& id) {
  parked_.Post([self = shared_from_this(), id] {
    self->parked_.After(kStatsInterval,
                        [self, id] { self->workers_.Run([self, id] { self->OnTick(id); }); });
  });
}

std::vector<StatsFeeds::Reader> StatsFeeds::TakeReaders(const std::string& id,
                                                        std::shared_ptr<Container>* container) {
  MutexLock lock(mutex_);
  Feed& feed = feeds_.at(id);
  std::vector<Reader> readers = std::exchange(feed.readers, {});
  std::erase_if(readers, [](const Reader& reader) { return reader.sink->closed(); });
  *container = feed.container;
  if (readers.empty()) feeds_.erase(id);
  return readers;
}

// One of these or a timer for one is all that runs of a feed.
void StatsFeeds::OnTick(const std::string& id) {
  std::shared_ptr<Container> container;
  std::vector<Reader> readers = TakeReaders(id, &container);
  if (readers.empty()) return;
  Container::RecordPointer record = container->record();
  Sample now;
  // Of one that has ended there are only zeros to tell, but it may be started again.
  if (record->state.phase != Phase::kRemoving) {
    Result<Json> sample = SampleStats(*record);
    if (sample.ok()) now = std::make_shared<const Json>(*std::move(sample));
    if (!sample.ok()) log::Debug("statistics of {}: {}", id, sample.error().message());
  }
  Sample before;
  {
    MutexLock lock(mutex_);
    auto feed = feeds_.find(id);
    before = feed->second.last;
    feed->second.last = now;
    if (!now) {
      std::move(feed->second.readers.begin(), feed->second.readers.end(),
                std::back_inserter(readers));
      feeds_.erase(feed);
    }
  }
  if (!now) {
    for (const Reader& reader : readers) reader.sink->Finish();
    return;
  }
  Lines lines(now, before);
  std::erase_if(readers, [&](Reader& reader) {
    if (reader.sink->queued() == 0) {
      reader.sink->Write(lines.For(reader));
      reader.before = now;
    }
    if (!reader.stream) reader.sink->Finish();
    return !reader.stream;
  });
  {
    MutexLock lock(mutex_);
    std::vector<Reader>& joined = feeds_.at(id).readers;
    std::move(readers.begin(), readers.end(), std::back_inserter(joined));
  }
  WaitForNext(id);
}

Result<> GetStats(Call& call) {
  auto container = TRY(call.engine().Find(call.arg()));
  bool stream = call.query().GetBool("stream", true);
  bool one_shot = call.minor >= 41 && call.query().GetBool("one-shot");
  if (one_shot && stream) {
    return InvalidArgument("cannot have stream=true and one-shot=true");
  }
  // Without a stream the first sample is only what the second is compared with.
  bool silent = !stream && !one_shot && container->record()->state.IsAlive();
  wire::Exchange& exchange = call.exchange;
  exchange.headers().Set("Content-Type", "application/json");
  Json nothing = EmptyStats(*container->record());
  if (!stream && !silent) {
    Json only = TRY(SampleStats(*container->record()));
    return exchange.Respond(200, StatsFeeds::Line(only, nothing, call.minor));
  }
  StatsFeeds& feeds = *call.parts.stats;
  StatsFeeds::Sample first = TRY(feeds.Latest(*container));
  std::shared_ptr<wire::ResponseSink> sink = TRY(exchange.Park(200));
  sink->Write(silent ? std::string() : StatsFeeds::Line(*first, nothing, call.minor));
  feeds.Join(container, {sink, call.minor, stream, first});
  return {};
}

}  // namespace gantry::engine::api
