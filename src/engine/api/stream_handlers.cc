// SPDX-License-Identifier: Apache-2.0
#include "engine/api/stream_handlers.h"

#include <atomic>
#include <charconv>
#include <chrono>
#include <memory>
#include <utility>

#include "engine/api/event_feed.h"
#include "engine/api/filters.h"
#include "engine/api/hijack.h"
#include "engine/log_source.h"
#include "wire/socket_io.h"

namespace gantry::engine::api {
namespace {

using formats::Json;

constexpr size_t kPiece = size_t{64} << 10;
constexpr int kConditionMinor = 30;  // of wait
constexpr int kLogFormatMinor = 54;
constexpr std::chrono::milliseconds kShowBound{500};

Result<LogOptions> ReadLogOptions(Call& call, bool terminal) {
  LogOptions options;
  options.out = call.query().GetBool("stdout");
  options.err = call.query().GetBool("stderr");
  if (!options.out && !options.err) {
    return InvalidArgument("must specify at least one of 'stdout' or 'stderr'");
  }
  options.timestamps = call.query().GetBool("timestamps");
  options.framed = !terminal;
  options.since = TRY(TimeParameter(call, "since", WallTime::min()));
  options.until = TRY(TimeParameter(call, "until", WallTime::max()));
  std::string_view tail = call.query().Get("tail");
  if (!tail.empty() && tail != "all") {
    // docker takes what is no number for "all".
    int64_t lines = -1;
    auto [end, error] = std::from_chars(tail.data(), tail.data() + tail.size(), lines);
    if (error == std::errc() && end == tail.data() + tail.size() && lines >= 0) {
      options.tail = lines;
    }
  }
  return options;
}

// Clients that attach and wait take the answer of the wait for the end of the output (dockerode's
// run), as with docker, which hands the output over first. One that reads nothing holds it up for a
// moment only.
void AfterOutput(EventLoop& loop, Container& container, std::function<void()> answer) {
  auto once = [told = std::make_shared<std::atomic<bool>>(false), answer = std::move(answer)] {
    if (!told->exchange(true)) answer();
  };
  if (container.WhenShown(once)) loop.Post([&loop, once] { loop.After(kShowBound, once); });
}

Result<WaitCondition> ReadCondition(std::string_view text) {
  if (text.empty() || text == "not-running") return WaitCondition::kNotRunning;
  if (text == "next-exit") return WaitCondition::kNextExit;
  if (text == "removed") return WaitCondition::kRemoved;
  return InvalidArgument("invalid condition: \"{}\"", text);
}

}  // namespace

Result<> GetLogs(Call& call) {
  auto container = TRY(call.engine().Find(call.arg()));
  Container::RecordPointer record = container->record();
  // docker tries a format for logs since then, which no client of its own asks for yet.
  if (call.minor >= kLogFormatMinor && !call.query().Get("format").empty()) {
    return InvalidArgument("unsupported log format");
  }
  LogOptions options = TRY(ReadLogOptions(call, record->config.tty));
  if (call.query().GetBool("details")) options.details = TRY(LogDetailsOf(*record));
  if (record->host.log_config.type == "none") {
    return Unimplemented("configured logging driver does not support reading");
  }
  LogStreamer log = TRY(LogStreamer::Open(call.engine().LogPath(record->id), options));
  wire::Exchange& exchange = call.exchange;
  exchange.headers().Set("Content-Type", StreamMediaType(call, record->config.tty));
  if (call.query().GetBool("follow") && options.until > WallTime(WallClock::now())) {
    std::shared_ptr<wire::ResponseSink> sink = TRY(exchange.Park(200));
    FollowLog(call.parts.log_watcher, call.parts.workers, container, std::move(log),
              call.engine().ContainerDirectory(record->id), std::move(sink));
    return {};
  }
  TRY(exchange.Begin(200));
  for (;;) {
    std::string piece;
    bool more = TRY(log.Read(kPiece, &piece));
    TRY(exchange.Write(piece));
    if (!more) return exchange.Finish();
  }
}

Result<> WaitContainer(Call& call) {
  auto container = TRY(call.engine().Find(call.arg()));
  WaitCondition condition = WaitCondition::kNotRunning;
  if (call.minor >= kConditionMinor) condition = TRY(ReadCondition(call.query().Get("condition")));
  call.exchange.headers().Set("Content-Type", "application/json");
  std::shared_ptr<wire::ResponseSink> sink = TRY(call.exchange.Park(200));
  EventLoop& loop = call.parts.parked;
  uint64_t number =
      container->Wait(condition, [&loop, container, sink, condition](const WaitResult& result) {
        Json answer = Json::MakeObject({{"StatusCode", result.exit_code}});
        // Of a removal only its own failure would be an error, not that of a start before it.
        if (!result.error.empty() && condition != WaitCondition::kRemoved) {
          answer.Set("Error", Json::MakeObject({{"Message", result.error}}));
        }
        AfterOutput(loop, *container, [sink, text = answer.Dump() + "\n"] {
          sink->Write(text);
          sink->Finish();
        });
      });
  sink->Watch([container, number] { container->CancelWait(number); });
  return {};
}

Result<> GetEvents(Call& call) {
  Filters filters = TRY(Filters::Parse(call.query().Get("filters")));
  EventRange range;
  range.since = TRY(TimeParameter(call, "since", WallTime::min()));
  range.until = TRY(TimeParameter(call, "until", WallTime::max()));
  if (range.since > range.until) {
    return InvalidArgument("`since` time ({}) cannot be after `until` time ({})",
                           call.query().Get("since"), call.query().Get("until"));
  }
  range.from_log = range.since != WallTime::min() || range.until != WallTime::max();
  EventForm form = EventForm::Choose(call.minor, call.exchange.request().headers.Get("Accept"));
  call.exchange.headers().Set("Content-Type", form.media_type);
  std::shared_ptr<wire::ResponseSink> sink = TRY(call.exchange.Park(200));
  FeedEvents(call.parts, std::move(sink), range, std::move(filters), form);
  return {};
}

}  // namespace gantry::engine::api
