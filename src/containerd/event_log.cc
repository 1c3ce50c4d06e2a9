// SPDX-License-Identifier: Apache-2.0
#include "containerd/event_log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstring>

#include "base/directory.h"
#include "base/io.h"
#include "base/log.h"
#include "base/random.h"

namespace gantry::containerd {
namespace {

constexpr size_t kHeaderBytes = 8;
constexpr size_t kMaxEventBytes = size_t{16} << 20;
constexpr size_t kIdBytes = 8;
constexpr std::string_view kSuffix = ".log";
constexpr size_t kDigits = 20;

uint32_t Check(std::string_view bytes) {
  uint32_t hash = 2166136261u;
  for (char byte : bytes) hash = (hash ^ static_cast<unsigned char>(byte)) * 16777619u;
  return hash;
}

void AppendLittle(uint32_t value, std::string* out) {
  for (int shift = 0; shift < 32; shift += 8) *out += static_cast<char>(value >> shift);
}
uint32_t ReadLittle(const char* bytes) {
  uint32_t value = 0;
  for (int i = 3; i >= 0; --i) value = value << 8 | static_cast<unsigned char>(bytes[i]);
  return value;
}

Result<> ReadAt(BorrowedFd fd, uint64_t offset, char* buffer, size_t size) {
  while (size > 0) {
    ssize_t count = ::pread(fd.get(), buffer, size, static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return ErrnoError("reading the event log");
    if (count == 0)
      return MakeError(ErrorKind::kOutOfRange, "reading the event log: it ends early");
    buffer += count;
    size -= static_cast<size_t>(count);
    offset += static_cast<uint64_t>(count);
  }
  return {};
}

// Numbers of the segments that are there, sorted.
Result<std::vector<uint64_t>> SegmentNumbers(const std::string& path) {
  std::vector<uint64_t> numbers;
  for (std::string_view name : TRY(ListDirectory(path))) {
    if (name.size() != kDigits + kSuffix.size() || !name.ends_with(kSuffix)) continue;
    uint64_t number = 0;
    auto [end, error] = std::from_chars(name.data(), name.data() + kDigits, number);
    if (error == std::errc() && end == name.data() + kDigits) numbers.push_back(number);
  }
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}

}  // namespace

Result<std::unique_ptr<EventLog>> EventLog::Open(const std::string& directory,
                                                 EventLogLimits limits) {
  TRY(MakeDirectories(directory, 0700));
  std::unique_ptr<EventLog> events(new EventLog(directory, limits));
  std::string path = directory + "/id";
  if (!PathExists(path)) TRY(ReplaceFile(path, RandomHex(kIdBytes), 0600));
  events->id_ = TRY(ReadFile(path, 64));
  MutexLock lock(events->mutex_);
  TRY_WITH(events->Load(), "opening the event log '{}'", directory);
  return events;
}

Result<> EventLog::Load() {
  auto numbers = TRY(SegmentNumbers(directory_));
  for (uint64_t number : numbers) {
    auto segment = std::make_shared<Segment>();
    segment->first = number;
    segment->path = fmt::format("{}/{:020}{}", directory_, number, kSuffix);
    segment->fd = TRY(OpenFile(segment->path, O_RDWR | O_APPEND));
    // Numbers follow each other without a gap, or what is before the gap is of no use.
    if (!segments_.empty() && number != next_) {
      while (!segments_.empty()) DropFirst();
    }
    next_ = number;
    TRY(LoadSegment(segment.get(), number == numbers.back()));
    next_ = number + segment->offsets.size();
    segments_.push_back(std::move(segment));
  }
  return {};
}

Result<> EventLog::LoadSegment(Segment* segment, bool last) {
  struct stat status{};
  if (::fstat(segment->fd.get(), &status) != 0) return ErrnoError("looking at the event log");
  auto size = static_cast<uint64_t>(status.st_size);
  std::string bytes(size, '\0');
  TRY(ReadAt(segment->fd, 0, bytes.data(), bytes.size()));
  uint64_t at = 0;
  while (at + kHeaderBytes <= size) {
    uint32_t length = ReadLittle(&bytes[at]);
    if (length > size - at - kHeaderBytes) break;
    if (Check({&bytes[at + kHeaderBytes], length}) != ReadLittle(&bytes[at + 4])) break;
    segment->offsets.push_back(static_cast<uint32_t>(at));
    at += kHeaderBytes + length;
  }
  segment->end = static_cast<uint32_t>(at);
  if (at == size) return {};
  // Only the last segment is written to; in others the next one's number shows the gap.
  log::Warning("event log: {} bytes after event {} are cut off", size - at,
               segment->first + segment->offsets.size() - 1);
  if (last && ::ftruncate(segment->fd.get(), static_cast<off_t>(at)) != 0) {
    return ErrnoError("cutting off '{}'", segment->path);
  }
  return {};
}

Result<> EventLog::AddSegment() {
  auto segment = std::make_shared<Segment>();
  segment->first = next_;
  segment->path = fmt::format("{}/{:020}{}", directory_, next_, kSuffix);
  segment->fd = TRY(OpenFile(segment->path, O_RDWR | O_APPEND | O_CREAT | O_TRUNC, 0600));
  segments_.push_back(std::move(segment));
  while (segments_.size() > limits_.segments) DropFirst();
  return {};
}

void EventLog::DropFirst() {
  ::unlink(segments_.front()->path.c_str());
  segments_.pop_front();
}

Result<> EventLog::AppendRecord(const std::string& record) {
  if (segments_.empty() || segments_.back()->end + record.size() > limits_.segment_bytes) {
    TRY(AddSegment());
  }
  Segment& segment = *segments_.back();
  auto written = WriteAll(segment.fd, record);
  if (!written.ok()) {
    // What was written in part must not stand before the next event.
    if (::ftruncate(segment.fd.get(), segment.end) != 0) return ErrnoError("cutting off a record");
    return written;
  }
  segment.offsets.push_back(segment.end);
  segment.end += static_cast<uint32_t>(record.size());
  return {};
}

uint64_t EventLog::Append(const ::containerd::types::Envelope& envelope) {
  std::string bytes = envelope.SerializeAsString();
  std::string record;
  record.reserve(kHeaderBytes + bytes.size());
  AppendLittle(static_cast<uint32_t>(bytes.size()), &record);
  AppendLittle(Check(bytes), &record);
  record += bytes;
  MutexLock lock(mutex_);
  auto appended = bytes.size() > kMaxEventBytes
                      ? Result<>(InvalidArgument("an event of {} bytes", bytes.size()))
                      : AppendRecord(record);
  uint64_t number = next_++;
  if (!appended.ok()) {
    if (!failing_) log::Warning("writing the event log: {}", appended.error().message());
    // Those before this one would stand beside a gap.
    while (!segments_.empty()) DropFirst();
  }
  failing_ = !appended.ok();
  return number;
}

uint64_t EventLog::next() const {
  MutexLock lock(mutex_);
  return next_;
}

std::string EventLog::CursorAfter(uint64_t number) const {
  return fmt::format("{}-{}", id_, number);
}

Result<uint64_t> EventLog::Resolve(const std::string& cursor) const {
  MutexLock lock(mutex_);
  if (cursor.empty()) return next_;
  if (cursor == "oldest") return first();
  size_t dash = cursor.find('-');
  uint64_t number = 0;
  const char* end = cursor.data() + cursor.size();
  auto [stop, error] =
      std::from_chars(cursor.data() + std::min(dash, cursor.size() - 1) + 1, end, number);
  if (dash != kIdBytes * 2 || error != std::errc() || stop != end) {
    return InvalidArgument("'{}' is no cursor of events", cursor);
  }
  if (cursor.substr(0, dash) != id_ || number >= next_) {
    return MakeError(ErrorKind::kOutOfRange, "cursor '{}' is of another log of events", cursor);
  }
  if (number + 1 < first()) {
    return MakeError(ErrorKind::kOutOfRange, "events after cursor '{}' are gone, the oldest is {}",
                     cursor, first());
  }
  return number + 1;
}

Result<std::vector<::containerd::types::Envelope>> EventLog::Read(uint64_t from,
                                                                  size_t max_bytes) const {
  std::shared_ptr<Segment> segment;
  std::vector<uint32_t> bounds;  // of each record, and the end of the last one
  {
    MutexLock lock(mutex_);
    if (from >= next_) return std::vector<::containerd::types::Envelope>();
    if (from < first()) {
      return MakeError(ErrorKind::kOutOfRange, "event {} is gone, the oldest is {}", from, first());
    }
    auto after = std::upper_bound(
        segments_.begin(), segments_.end(), from,
        [](uint64_t number, const auto& candidate) { return number < candidate->first; });
    segment = *std::prev(after);
    size_t index = from - segment->first;
    while (index < segment->offsets.size() &&
           (bounds.empty() || segment->offsets[index] - bounds.front() < max_bytes)) {
      bounds.push_back(segment->offsets[index++]);
    }
    bounds.push_back(index < segment->offsets.size() ? segment->offsets[index] : segment->end);
  }
  std::string bytes(bounds.back() - bounds.front(), '\0');
  TRY(ReadAt(segment->fd, bounds.front(), bytes.data(), bytes.size()));
  std::vector<::containerd::types::Envelope> envelopes;
  for (size_t i = 0; i + 1 < bounds.size(); ++i) {
    size_t begin = bounds[i] - bounds.front() + kHeaderBytes;
    if (!envelopes.emplace_back().ParseFromArray(
            &bytes[begin], static_cast<int>(bounds[i + 1] - bounds[i] - kHeaderBytes))) {
      return MakeError(ErrorKind::kDataLoss, "reading event {}: damaged", from + i);
    }
  }
  return envelopes;
}

}  // namespace gantry::containerd
