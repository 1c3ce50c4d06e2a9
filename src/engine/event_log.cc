// SPDX-License-Identifier: Apache-2.0
#include "engine/event_log.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <optional>
#include <utility>

#include "base/io.h"
#include "base/log.h"
#include "formats/json.h"

namespace gantry::engine {
namespace {

using formats::Json;

constexpr size_t kMaxFileBytes = size_t{8} << 20;
constexpr size_t kRecent = 2048;

std::string Encode(const NumberedEvent& entry) {
  // The number comes first: NumberOf reads it without the rest.
  std::string fields = EventToJson(entry.event).Dump();
  return fmt::format("{{\"number\":{},{}\n", entry.number, std::string_view(fields).substr(1));
}

// The number alone, which a line begins with; nothing for a torn line.
std::optional<uint64_t> NumberOf(std::string_view line) {
  constexpr std::string_view kHead = "{\"number\":";
  if (!line.starts_with(kHead)) return std::nullopt;
  uint64_t number = 0;
  auto [end, error] =
      std::from_chars(line.data() + kHead.size(), line.data() + line.size(), number);
  if (error != std::errc()) return std::nullopt;
  return number;
}

// What tells events of one action and actor apart: of a network or a volume the container, of an
// exec its id, of a signal its number.
std::string SubjectOf(const Event& event) {
  auto attribute = [&](const char* name) {
    auto found = event.attributes.find(name);
    return found == event.attributes.end() ? "" : found->second;
  };
  if (event.type != "container") return attribute("container");
  return attribute(event.action == "kill" ? "signal" : "execID");
}

std::string_view LineAtFront(std::string_view text) { return text.substr(0, text.find('\n')); }

// The lines from the first event with a greater number on. Numbers rise, so the half is looked for
// in which it must be.
std::string_view SkipTo(std::string_view text, uint64_t number) {
  size_t low = 0;  // begins a line; everything before it has been seen
  size_t high = text.size();
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    size_t line = text.rfind('\n', middle == 0 ? 0 : middle - 1);
    line = line == std::string_view::npos || line < low ? low : line + 1;
    // A torn line says nothing: the one after it decides.
    size_t probe = line;
    std::optional<uint64_t> found;
    while (probe < high && !found) {
      std::string_view candidate = LineAtFront(text.substr(probe));
      found = NumberOf(candidate);
      probe += candidate.size() + 1;
    }
    if (found && *found <= number) {
      low = std::min(probe, text.size());
    } else {
      high = line;
    }
  }
  return text.substr(low);
}

Result<NumberedEvent> Decode(std::string_view line) {
  Json json = TRY(Json::Parse(line));
  NumberedEvent entry;
  formats::JsonReader reader(json, "event");
  reader.Field("number", &entry.number);
  ReadEvent(reader, &entry.event);
  TRY(reader.Finish());
  return entry;
}

}  // namespace

Result<std::unique_ptr<EventLog>> EventLog::Open(const std::string& directory) {
  std::unique_ptr<EventLog> log(new EventLog(directory + "/events.log"));
  MutexLock lock(log->mutex_);
  for (const std::string& path : {log->path_ + ".1", log->path_}) {
    TRY(ReadLines(path, 0, [&](NumberedEvent entry) {
      log->last_ = std::max(log->last_, entry.number);
      log->last_time_ = std::max(log->last_time_, entry.event.time);
      log->recent_.push_back(std::move(entry));
      if (log->recent_.size() > kRecent) log->recent_.pop_front();
      return true;
    }));
  }
  TRY(log->OpenFile());
  return log;
}

Result<> EventLog::OpenFile() {
  file_ = TRY(gantry::OpenFile(path_, O_RDWR | O_CREAT | O_APPEND, 0600));
  struct stat status{};
  if (::fstat(file_.get(), &status) < 0) return ErrnoError("looking at '{}'", path_);
  file_size_ = static_cast<size_t>(status.st_size);
  // A torn last line must not swallow the next one.
  char last = '\n';
  if (file_size_ > 0) (void)!::pread(file_.get(), &last, 1, status.st_size - 1);
  if (last != '\n') TRY(WriteAll(file_, "\n"));
  return {};
}

void EventLog::Rotate() {
  if (::rename(path_.c_str(), (path_ + ".1").c_str()) < 0) {
    return log::Warning("{}", ErrnoError("rotating '{}'", path_).message());
  }
  Result<> opened = OpenFile();
  if (!opened.ok()) log::Warning("{}", opened.error().message());
}

void EventLog::Append(const Event& event) {
  MutexLock lock(mutex_);
  NumberedEvent entry{++last_, event};
  last_time_ = std::max(event.time, last_time_ + std::chrono::nanoseconds(1));
  entry.event.time = last_time_;
  std::string line = Encode(entry);
  if (file_size_ + line.size() > kMaxFileBytes) Rotate();
  Result<> written = WriteAll(file_, line);
  if (!written.ok()) {
    log::Warning("writing an event: {}", written.error().message());
  } else {
    file_size_ += line.size();
  }
  for (const auto& [id, listener] : listeners_) listener(entry);
  recent_.push_back(std::move(entry));
  if (recent_.size() > kRecent) recent_.pop_front();
}

bool EventLog::HasRecent(const Event& event) const {
  MutexLock lock(mutex_);
  return std::any_of(recent_.begin(), recent_.end(), [&](const NumberedEvent& entry) {
    return entry.event.time >= event.time && entry.event.type == event.type &&
           entry.event.action == event.action && entry.event.actor_id == event.actor_id &&
           SubjectOf(entry.event) == SubjectOf(event);
  });
}

WallTime EventLog::recent_since() const {
  MutexLock lock(mutex_);
  bool all = recent_.empty() || recent_.front().number == 1;
  return all ? WallTime{} : recent_.front().event.time;
}

uint64_t EventLog::Listen(Listener listener) {
  MutexLock lock(mutex_);
  listeners_[next_listener_] = std::move(listener);
  return next_listener_++;
}

void EventLog::Unlisten(uint64_t id) {
  MutexLock lock(mutex_);
  listeners_.erase(id);
}

int64_t EventLog::listeners() const {
  MutexLock lock(mutex_);
  return static_cast<int64_t>(listeners_.size());
}

uint64_t EventLog::last_number() const {
  MutexLock lock(mutex_);
  return last_;
}

uint64_t EventLog::NumberBefore(WallTime time) const {
  MutexLock lock(mutex_);
  auto first =
      std::partition_point(recent_.begin(), recent_.end(),
                           [&](const NumberedEvent& entry) { return entry.event.time < time; });
  return first == recent_.begin() ? 0 : std::prev(first)->number;
}

Result<std::vector<NumberedEvent>> EventLog::After(uint64_t number, size_t limit) const {
  std::vector<NumberedEvent> out;
  {
    MutexLock lock(mutex_);
    if (number >= last_) return out;
    if (!recent_.empty() && recent_.front().number <= number + 1) {
      size_t skip = static_cast<size_t>(number + 1 - recent_.front().number);
      for (size_t i = skip; i < recent_.size() && out.size() < limit; ++i) {
        out.push_back(recent_[i]);
      }
      return out;
    }
  }
  // Further back than memory goes. A rotation in between only makes an event be seen twice, which
  // the number tells.
  uint64_t newest = number;
  for (const std::string& path : {path_ + ".1", path_}) {
    TRY(ReadLines(path, newest, [&](NumberedEvent entry) {
      newest = entry.number;
      out.push_back(std::move(entry));
      return out.size() < limit;
    }));
    if (out.size() >= limit) break;
  }
  return out;
}

Result<> EventLog::ReadLines(const std::string& path, uint64_t after,
                             const std::function<bool(NumberedEvent)>& take) {
  Result<std::string> text = ReadFile(path, 2 * kMaxFileBytes);
  if (!text.ok()) {
    if (text.error().kind() == ErrorKind::kNotFound) return {};
    return std::move(text).error();
  }
  std::string_view rest = SkipTo(*text, after);
  while (!rest.empty()) {
    std::string_view line = LineAtFront(rest);
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    Result<NumberedEvent> entry = Decode(line);
    if (entry.ok() && !take(*std::move(entry))) break;
  }
  return {};
}

}  // namespace gantry::engine
