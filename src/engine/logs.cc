// SPDX-License-Identifier: Apache-2.0
#include "engine/logs.h"

#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <set>
#include <utility>
#include <vector>

#include "base/log.h"
#include "engine/unpack_log.h"

namespace gantry::engine {
namespace {

constexpr uint32_t kLogChanges = IN_MODIFY | IN_CREATE | IN_MOVED_TO;
constexpr size_t kPiece = size_t{16} << 10;
// A follower whose client has this much waiting reads on when the client has taken it.
constexpr size_t kMaxQueued = size_t{16} << 10;

void AppendRecord(const formats::LogRecord& record, const LogOptions& options, std::string* out) {
  size_t head = out->size();
  if (options.framed) {
    const char frame[8] = {static_cast<char>(record.stream), 0, 0, 0, 0, 0, 0, 0};
    out->append(frame, sizeof frame);
  }
  size_t begin = out->size();
  if (options.timestamps) {
    out->append(FormatRfc3339Fixed(record.time));
    out->push_back(' ');
  }
  out->append(options.details);
  out->append(record.text);
  if (!options.framed) return;
  size_t size = out->size() - begin;
  for (int i = 0; i < 4; ++i) (*out)[head + 4 + i] = static_cast<char>(size >> (24 - 8 * i));
}

class Follower : public std::enable_shared_from_this<Follower> {
 public:
  Follower(LogWatcher& watcher, wire::WorkerPool& workers, std::shared_ptr<Container> container,
           LogStreamer streamer, std::shared_ptr<wire::ResponseSink> sink)
      : watcher_(watcher),
        workers_(workers),
        container_(std::move(container)),
        streamer_(std::move(streamer)),
        sink_(std::move(sink)) {}

  void Begin(const std::string& directory) {
    auto self = shared_from_this();
    Result<uint64_t> watch = watcher_.Watch(directory, [self] { self->Kick(); });
    if (!watch.ok()) {
      log::Warning("following a log: {}", watch.error().message());
      return sink_->Finish();
    }
    watch_ = *watch;
    // The log is complete before the exit is published, so one more reading after it is all.
    WaitCondition condition = container_->record()->state.IsAlive() ? WaitCondition::kNextExit
                                                                    : WaitCondition::kNotRunning;
    wait_ = container_->Wait(condition, [self](const WaitResult&) {
      self->ended_ = true;
      self->Kick();
    });
    sink_->Watch([self] { self->Gone(); }, [self] { self->Kick(); });
    Kick();
  }

 private:
  // Any thread: there may be something to read.
  void Kick() {
    if (kicks_.fetch_add(1) == 0) {
      workers_.Run([self = shared_from_this()] { self->Pump(); });
    }
  }
  void Gone() {
    gone_ = true;
    Kick();
  }

  void Pump() {
    for (;;) {
      int seen = kicks_;
      bool over = ReadOn();
      if (over) return End();  // kicks_ stays above 0: nobody starts a second one
      if (kicks_.fetch_sub(seen) == seen) return;
    }
  }

  // True when there is nothing more to do, ever.
  bool ReadOn() {
    for (;;) {
      if (gone_) return true;
      if (sink_->queued() > kMaxQueued) return false;
      bool was_ended = ended_;
      std::string out;
      Result<bool> more = streamer_.Read(kPiece, &out);
      if (!sink_->Write(out)) return true;
      if (!more.ok()) {
        log::Warning("following a log: {}", more.error().message());
        return true;
      }
      if (streamer_.done()) return true;
      if (!*more) return was_ended;
    }
  }

  void End() {
    watcher_.Unwatch(watch_);
    container_->CancelWait(wait_);
    sink_->Watch(nullptr, nullptr);
    sink_->Finish();
  }

  LogWatcher& watcher_;
  wire::WorkerPool& workers_;
  const std::shared_ptr<Container> container_;
  LogStreamer streamer_;
  const std::shared_ptr<wire::ResponseSink> sink_;
  std::atomic<uint64_t> watch_ = 0;
  std::atomic<uint64_t> wait_ = 0;
  std::atomic<int> kicks_ = 0;
  std::atomic<bool> ended_ = false;
  std::atomic<bool> gone_ = false;
};

}  // namespace

Result<LogStreamer> LogStreamer::Open(const std::string& path, const LogOptions& options) {
  return LogStreamer(TRY(formats::JsonLogReader::Open(path, options.tail, UnpackLog)), options);
}

Result<bool> LogStreamer::Read(size_t enough, std::string* out) {
  while (out->size() < enough) {
    if (done_ || !TRY(reader_.Next(&record_))) return false;
    if (record_.time >= options_.count_since) counted_ += record_.text.size();
    if (record_.time > options_.until) {
      done_ = true;
      return false;
    }
    if (record_.time < options_.since) continue;
    bool is_error = record_.stream == formats::LogStream::kStderr;
    if (is_error ? options_.err : options_.out) AppendRecord(record_, options_, out);
  }
  return true;
}

Result<std::unique_ptr<LogWatcher>> LogWatcher::Create(EventLoop& loop) {
  UniqueFd inotify(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (!inotify.valid()) return ErrnoError("making an inotify instance");
  std::unique_ptr<LogWatcher> watcher(new LogWatcher(loop, std::move(inotify)));
  loop.Post([raw = watcher.get()] {
    Result<> watching =
        raw->loop_.Watch(raw->inotify_, EPOLLIN, [raw](uint32_t) { raw->OnEvents(); });
    if (!watching.ok()) log::Failure("watching logs: {}", watching.error().message());
  });
  return watcher;
}

LogWatcher::~LogWatcher() = default;

Result<uint64_t> LogWatcher::Watch(const std::string& directory, std::function<void()> changed) {
  MutexLock lock(mutex_);
  // The same directory gives the same watch again.
  int watch = ::inotify_add_watch(inotify_.get(), directory.c_str(), kLogChanges);
  if (watch < 0) return ErrnoError("watching '{}'", directory);
  entries_.emplace(next_, Entry{watch, std::move(changed)});
  return next_++;
}

void LogWatcher::Unwatch(uint64_t number) {
  MutexLock lock(mutex_);
  auto found = entries_.find(number);
  if (found == entries_.end()) return;
  int watch = found->second.watch;
  entries_.erase(found);
  bool shared = std::any_of(entries_.begin(), entries_.end(),
                            [&](const auto& entry) { return entry.second.watch == watch; });
  // Fails for a directory that is gone, whose watch went with it.
  if (!shared) (void)::inotify_rm_watch(inotify_.get(), watch);
}

void LogWatcher::OnEvents() {
  alignas(inotify_event) char buffer[16384];
  std::set<int> watches;
  bool all = false;
  for (;;) {
    ssize_t size = ::read(inotify_.get(), buffer, sizeof buffer);
    if (size <= 0) break;
    for (ssize_t at = 0; at < size;) {
      const auto* event = reinterpret_cast<const inotify_event*>(buffer + at);
      if (event->mask & IN_Q_OVERFLOW) all = true;
      watches.insert(event->wd);
      at += static_cast<ssize_t>(sizeof(inotify_event) + event->len);
    }
  }
  std::vector<std::function<void()>> calls;
  {
    MutexLock lock(mutex_);
    for (const auto& [number, entry] : entries_) {
      if (all || watches.contains(entry.watch)) calls.push_back(entry.changed);
    }
  }
  for (const auto& call : calls) call();
}

void FollowLog(LogWatcher& watcher, wire::WorkerPool& workers, std::shared_ptr<Container> container,
               LogStreamer streamer, const std::string& directory,
               std::shared_ptr<wire::ResponseSink> sink) {
  std::make_shared<Follower>(watcher, workers, std::move(container), std::move(streamer),
                             std::move(sink))
      ->Begin(directory);
}

}  // namespace gantry::engine
