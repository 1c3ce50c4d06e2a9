// SPDX-License-Identifier: Apache-2.0
#include "engine/api/event_feed.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include "base/log.h"
#include "base/mutex.h"

namespace gantry::engine::api {
namespace {

using formats::Json;

// Beyond this a client is behind (docs/connections.md).
constexpr size_t kMaxQueued = 4096;
constexpr size_t kBatch = 1024;
// From this API version on events come as lines of JSON by name.
constexpr int kJsonLinesMinor = 52;
// From this one on images tell of their creation.
constexpr int kImageCreateMinor = 46;

class Feed : public std::enable_shared_from_this<Feed> {
 public:
  Feed(ApiParts& parts, std::shared_ptr<wire::ResponseSink> sink, EventRange range, Filters filters,
       EventForm form)
      : parts_(parts),
        sink_(std::move(sink)),
        range_(range),
        filters_(std::move(filters)),
        form_(form) {}

  void Begin() {
    auto self = shared_from_this();
    {
      MutexLock lock(mutex_);
      cursor_ =
          range_.from_log ? parts_.events.NumberBefore(range_.since) : parts_.events.last_number();
    }
    listener_ = parts_.events.Listen([self](const NumberedEvent& event) { self->OnEvent(event); });
    sink_->Watch(
        [self] {
          self->over_ = true;
          self->Kick();
        },
        [self] { self->Kick(); });
    if (range_.until != WallTime::max()) {
      auto left = std::max(range_.until - WallTime(WallClock::now()), std::chrono::nanoseconds(0));
      parts_.parked.Post([self, left] {
        self->parts_.parked.After(left, [self] {
          self->until_reached_ = true;
          self->Kick();
        });
      });
    }
    Kick();
  }

 private:
  // In the thread that appends; the log's lock is held.
  void OnEvent(const NumberedEvent& event) {
    MutexLock lock(mutex_);
    if (behind_ || sink_->queued() > kMaxQueued) {
      behind_ = true;
      missed_ = true;
      return;
    }
    Tell(event);
  }

  void Tell(const NumberedEvent& entry) REQUIRES(mutex_) {
    if (entry.number <= cursor_) return;
    cursor_ = entry.number;
    if (entry.event.time < range_.since || entry.event.time > range_.until) return;
    if (!IsKnown(entry.event, form_.minor)) return;
    if (MatchesFilters(entry.event, filters_)) sink_->Write(EventLine(entry.event, form_));
  }

  void Kick() {
    if (kicks_.fetch_add(1) == 0) {
      parts_.workers.Run([self = shared_from_this()] { self->Pump(); });
    }
  }

  void Pump() {
    for (;;) {
      int seen = kicks_;
      if (!over_) CatchUp();
      if (over_ || sink_->closed()) return End();
      if (kicks_.fetch_sub(seen) == seen) return;
    }
  }

  void CatchUp() {
    bool last_round = until_reached_;
    for (;;) {
      uint64_t cursor;
      {
        MutexLock lock(mutex_);
        // A drained socket calls again.
        if (sink_->queued() > kMaxQueued) return;
        cursor = cursor_;
        missed_ = false;
      }
      Result<std::vector<NumberedEvent>> events = parts_.events.After(cursor, kBatch);
      if (!events.ok()) {
        log::Warning("reading events: {}", events.error().message());
        over_ = true;
        return;
      }
      MutexLock lock(mutex_);
      for (const NumberedEvent& event : *events) Tell(event);
      if (!events->empty() || missed_) continue;
      behind_ = false;
      if (last_round) over_ = true;
      return;
    }
  }

  void End() {
    parts_.events.Unlisten(listener_);
    sink_->Watch(nullptr, nullptr);
    sink_->Finish();
  }

  ApiParts& parts_;
  const std::shared_ptr<wire::ResponseSink> sink_;
  const EventRange range_;
  const Filters filters_;
  const EventForm form_;
  std::atomic<uint64_t> listener_ = 0;
  std::atomic<int> kicks_ = 0;
  std::atomic<bool> over_ = false;
  std::atomic<bool> until_reached_ = false;
  Mutex mutex_;
  uint64_t cursor_ GUARDED_BY(mutex_) = 0;
  bool behind_ GUARDED_BY(mutex_) = true;
  bool missed_ GUARDED_BY(mutex_) = false;
};

std::string Attribute(const Event& event, const std::string& key) {
  auto found = event.attributes.find(key);
  return found == event.attributes.end() ? "" : found->second;
}

// docker compares every filter on a thing with the actor's id and name, whatever its type is, and
// is content with their beginning.
bool MatchesActor(const Event& event, const Filters& filters, std::string_view type) {
  return filters.MatchPrefix(type, event.actor_id) ||
         filters.MatchPrefix(type, Attribute(event, "name"));
}

bool MatchesAction(const Event& event, const Filters& filters) {
  // "exec_create" stands for "exec_create: ls -l" too.
  std::string_view kind = std::string_view(event.action).substr(0, event.action.find(':'));
  bool with_detail = kind == "exec_create" || kind == "exec_start" || kind == "health_status";
  return filters.MatchExact("event", event.action) ||
         (with_detail && filters.MatchExact("event", kind));
}

bool MatchesImage(const Event& event, const Filters& filters) {
  if (!filters.Has("image")) return true;
  std::string image = event.type == "image" ? Attribute(event, "name") : Attribute(event, "image");
  if (filters.MatchExact("image", image)) return true;
  if (event.type == "image" && filters.MatchExact("image", event.actor_id)) return true;
  return filters.MatchExact("image", image.substr(0, image.rfind(':')));
}

}  // namespace

bool IsKnown(const Event& event, int minor) {
  return minor >= kImageCreateMinor || event.type != "image" || event.action != "create";
}

bool MatchesFilters(const Event& event, const Filters& filters) {
  if (filters.empty()) return true;
  static constexpr std::string_view kThings[] = {
      "container", "network", "volume", "daemon", "plugin", "node", "service", "secret", "config"};
  return filters.MatchExact("type", event.type) && MatchesAction(event, filters) &&
         std::all_of(std::begin(kThings), std::end(kThings),
                     [&](std::string_view thing) { return MatchesActor(event, filters, thing); }) &&
         MatchesImage(event, filters) && filters.MatchLabels("label", event.attributes) &&
         filters.MatchExact("scope", "local");
}

EventForm EventForm::Choose(int minor, std::string_view accept) {
  if (minor < kJsonLinesMinor) return {"application/json", minor, false};
  // The first of ours that the client names; order among its own is by its quality values, which
  // no client of docker's sends.
  EventForm best{"application/jsonl", minor, false};
  size_t best_at = std::string_view::npos;
  for (std::string_view type :
       {"application/jsonl", "application/x-ndjson", "application/json-seq"}) {
    size_t at = accept.find(type);
    // "application/json" is a beginning of all of them, and of none a whole word.
    if (at >= best_at) continue;
    best = {type, minor, type == "application/json-seq"};
    best_at = at;
  }
  return best;
}

std::string EventLine(const Event& event, const EventForm& form) {
  Json out = Json::MakeObject();
  if (event.type == "container" || event.type == "image") {
    out.Set("status", event.action);
    out.Set("id", event.actor_id);
    if (event.type == "container") out.Set("from", Attribute(event, "image"));
  }
  out.Set("Type", event.type);
  out.Set("Action", event.action);
  out.Set("Actor",
          Json::MakeObject({{"ID", event.actor_id}, {"Attributes", Json(event.attributes)}}));
  out.Set("scope", "local");
  out.Set("time", UnixNanos(event.time) / 1'000'000'000);
  out.Set("timeNano", UnixNanos(event.time));
  Shape(AnswerForm::kEvent, form.minor, &out);
  return (form.record_separator ? "\x1e" : "") + out.Dump() + "\n";
}

void FeedEvents(ApiParts& parts, std::shared_ptr<wire::ResponseSink> sink, EventRange range,
                Filters filters, EventForm form) {
  std::make_shared<Feed>(parts, std::move(sink), range, std::move(filters), form)->Begin();
}

}  // namespace gantry::engine::api
