// SPDX-License-Identifier: Apache-2.0
#include "engine/log_forwarder.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <optional>
#include <utility>
#include <vector>

#include "base/io.h"
#include "base/log.h"
#include "engine/log_source.h"
#include "formats/json_log.h"
#include "logs/sink.h"

namespace gantry::engine {
namespace {

constexpr size_t kThreads = 32;
constexpr size_t kBatch = 256;
constexpr std::chrono::milliseconds kFirstRetry(100);
constexpr std::chrono::milliseconds kLongestRetry(10'000);
constexpr std::chrono::seconds kRemovalBound(3);

}  // namespace

// Where the sending stands: "INODE OFFSET\n" with as many digits whatever the numbers are, so that
// one write replaces another.
class LogCursor {
 public:
  static Result<LogCursor> Open(const std::string& path) {
    LogCursor cursor;
    cursor.file_ = TRY(OpenFile(path, O_RDWR | O_CREAT, 0600));
    std::string text = TRY(ReadToEnd(cursor.file_, kSize));
    formats::LogPosition position;
    const char* end = text.data() + text.size();
    auto [space, inode_error] = std::from_chars(text.data(), end, position.inode);
    if (inode_error == std::errc() && space != end &&
        std::from_chars(space + 1, end, position.offset).ec == std::errc()) {
      cursor.position = position;
    }
    return cursor;
  }

  Result<> Save(formats::LogPosition at) {
    position = at;
    std::string text = fmt::format("{:020} {:020}\n", at.inode, at.offset);
    if (::pwrite(file_.get(), text.data(), text.size(), 0) < 0) {
      return ErrnoError("writing the cursor of a log");
    }
    return {};
  }

  std::optional<formats::LogPosition> position;

 private:
  static constexpr size_t kSize = 42;
  UniqueFd file_;
};

class LogForwarder::Forward : public std::enable_shared_from_this<LogForwarder::Forward> {
 public:
  Forward(LogForwarder& owner, std::shared_ptr<Container> container)
      : owner_(owner), container_(std::move(container)) {}

  Result<> Begin() {
    const std::string& id = container_->id();
    std::string directory = owner_.engine_.ContainerDirectory(id);
    cursor_ = TRY(LogCursor::Open(directory + "/log-cursor"));
    std::string path = owner_.engine_.LogPath(id);
    reader_ = cursor_->position ? TRY(formats::JsonLogReader::OpenAt(path, *cursor_->position))
                                : TRY(formats::JsonLogReader::Open(path, -1));
    watch_ = TRY(owner_.watcher_.Watch(directory, [self = shared_from_this()] { self->Kick(); }));
    Kick();
    return {};
  }

  void Kick() {
    if (kicks_.fetch_add(1) == 0) {
      owner_.workers_.Run([self = shared_from_this()] { self->Pump(); });
    }
  }

  void Remove() {
    removed_ = true;
    Kick();
    auto deadline = SteadyClock::now() + kRemovalBound;
    {
      MutexLock lock(mutex_);
      while (!over_) {
        auto left = deadline - SteadyClock::now();
        if (left.count() <= 0 || (!changed_.WaitFor(mutex_, left) && !over_)) break;
      }
    }
    owner_.watcher_.Unwatch(watch_);
  }

 private:
  void Pump() {
    for (;;) {
      int seen = kicks_;
      bool sent_all = SendAll();
      // At the removal one attempt after the last line is all there is.
      if (removed_ && (sent_all || failed_)) {
        MutexLock lock(mutex_);
        over_ = true;
        changed_.NotifyAll();
        return;  // kicks_ stays above 0: nobody starts a second one
      }
      if (kicks_.fetch_sub(seen) == seen) return;
    }
  }

  // True when there is nothing left to send.
  bool SendAll() {
    if (!removed_ && SteadyClock::now() < not_before_) return false;
    for (;;) {
      Result<> filled = Fill();
      if (!filled.ok()) {
        Fail(filled.error());
        return false;
      }
      if (batch_.empty()) return true;
      Result<> sent = Send();
      if (!sent.ok()) {
        Fail(sent.error());
        return false;
      }
      if (std::exchange(failed_, false)) {
        log::Info("container {}: the log server takes lines again", container_->id());
      }
      delay_ = kFirstRetry;
      batch_.clear();
      Result<> saved = cursor_->Save(reader_->position());
      if (!saved.ok()) log::Warning("{}", saved.error().message());
    }
  }

  Result<> Fill() {
    formats::LogRecord record;
    while (batch_.size() < kBatch && TRY(reader_->Next(&record))) {
      logs::LogEntry entry;
      entry.is_error = record.stream == formats::LogStream::kStderr;
      entry.time = record.time;
      entry.partial = !record.text.ends_with('\n');
      if (!entry.partial) record.text.pop_back();
      entry.line = std::move(record.text);
      // docker's drivers leave empty lines out.
      if (!entry.line.empty()) batch_.push_back(std::move(entry));
    }
    return {};
  }

  Result<> Send() {
    if (!sink_) sink_ = TRY(logs::MakeSink(LogSourceOf(*container_->record())));
    return sink_->Send(batch_);
  }

  void Fail(const Error& error) {
    if (!std::exchange(failed_, true)) {
      log::Warning("container {}: sending its log: {}; trying again", container_->id(),
                   error.message());
    }
    not_before_ = SteadyClock::now() + delay_;
    owner_.loop_.Post([self = shared_from_this(), delay = delay_] {
      self->owner_.loop_.After(delay, [self] { self->Kick(); });
    });
    delay_ = std::min(delay_ * 2, kLongestRetry);
  }

  LogForwarder& owner_;
  const std::shared_ptr<Container> container_;
  std::atomic<int> kicks_ = 0;
  std::atomic<bool> removed_ = false;
  uint64_t watch_ = 0;
  // Only in Pump, of which one runs at a time.
  std::optional<LogCursor> cursor_;
  std::optional<formats::JsonLogReader> reader_;
  std::unique_ptr<logs::Sink> sink_;
  std::vector<logs::LogEntry> batch_;
  bool failed_ = false;
  std::chrono::milliseconds delay_ = kFirstRetry;
  SteadyClock::time_point not_before_{};
  Mutex mutex_;
  CondVar changed_;
  bool over_ GUARDED_BY(mutex_) = false;
};

LogForwarder::LogForwarder(Engine& engine, LogWatcher& watcher, EventLoop& loop)
    : engine_(engine), watcher_(watcher), loop_(loop), workers_(kThreads) {}
LogForwarder::~LogForwarder() = default;

void LogForwarder::Begin(const std::string& id) {
  auto container = engine_.Find(id);
  if (!container.ok()) return;
  std::shared_ptr<Forward> forward;
  {
    MutexLock lock(mutex_);
    auto [entry, added] = forwards_.emplace(id, nullptr);
    if (!added) return;
    forward = entry->second = std::make_shared<Forward>(*this, *container);
  }
  Result<> begun = forward->Begin();
  if (begun.ok()) return;
  log::Failure("container {}: forwarding its log: {}", id, begun.error().message());
  MutexLock lock(mutex_);
  forwards_.erase(id);
}

void LogForwarder::Remove(const std::string& id) {
  std::shared_ptr<Forward> forward;
  {
    MutexLock lock(mutex_);
    auto found = forwards_.find(id);
    if (found == forwards_.end()) return;
    forward = std::move(found->second);
    forwards_.erase(found);
  }
  forward->Remove();
}

}  // namespace gantry::engine
