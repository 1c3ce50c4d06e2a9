// SPDX-License-Identifier: Apache-2.0
#include "buildkit/history.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <set>
#include <utility>

#include "base/clock.h"
#include "base/directory.h"
#include "base/io.h"
#include "base/log.h"
#include "build/stage_state.h"
#include "buildkit/progress.h"
#include "buildkit/rpc.h"

namespace gantry::buildkit {
namespace {

namespace api = moby::buildkit::v1;

constexpr size_t kMostRecords = 50;  // that nobody has pinned
constexpr size_t kMostProgressBytes = size_t{2} << 20;
constexpr size_t kMostRecordBytes = size_t{1} << 20;
constexpr size_t kMostFileBytes = size_t{64} << 20;
constexpr const char* kRecord = ".record";
constexpr const char* kProgress = ".progress";
// Before each message of a file: its length.
constexpr size_t kPrefix = 4;

int64_t NanosOf(const google::protobuf::Timestamp& time) {
  return time.seconds() * 1'000'000'000 + time.nanos();
}

void AppendMessage(const std::string& message, std::string* out) {
  for (size_t i = 0; i < kPrefix; ++i) *out += static_cast<char>(message.size() >> (8 * i));
  *out += message;
}

// Steps and warnings are told whatever commands print; of what they print as much as there is room
// for.
std::string EncodeProgress(const std::vector<History::Update>& updates) {
  std::string out;
  for (const History::Update& update : updates) {
    if (update.vertexes_size() + update.warnings_size() == 0 && out.size() > kMostProgressBytes)
      continue;
    AppendMessage(update.SerializeAsString(), &out);
  }
  return out;
}

Result<std::vector<History::Update>> DecodeProgress(std::string_view text) {
  std::vector<History::Update> updates;
  while (text.size() >= kPrefix) {
    size_t size = 0;
    for (size_t i = 0; i < kPrefix; ++i) size |= size_t{static_cast<uint8_t>(text[i])} << (8 * i);
    text.remove_prefix(kPrefix);
    if (size > text.size() ||
        !updates.emplace_back().ParseFromArray(text.data(), static_cast<int>(size))) {
      return MakeError(ErrorKind::kDataLoss, "the progress of the build is damaged");
    }
    text.remove_prefix(size);
  }
  return updates;
}

void CountSteps(const std::vector<History::Update>& updates, History::Record* record) {
  std::map<std::string, api::Vertex> steps;
  for (const History::Update& update : updates) {
    record->set_numwarnings(record->numwarnings() + update.warnings_size());
    for (const api::Vertex& vertex : update.vertexes()) {
      bool cached = steps[vertex.digest()].cached() || vertex.cached();
      steps[vertex.digest()] = vertex;
      steps[vertex.digest()].set_cached(cached);
    }
  }
  auto count = [&](auto is) {
    return static_cast<int32_t>(
        std::count_if(steps.begin(), steps.end(), [&](const auto& one) { return is(one.second); }));
  };
  record->set_numtotalsteps(static_cast<int32_t>(steps.size()));
  record->set_numcachedsteps(count([](const api::Vertex& step) { return step.cached(); }));
  record->set_numcompletedsteps(
      count([](const api::Vertex& step) { return step.has_completed(); }));
}

}  // namespace

std::string History::PathOf(const std::string& ref, const char* kind) const {
  // References are the client's: no names of files.
  return directory_ + "/" + build::HexDigest(ref) + kind;
}

Result<> History::Write(const Record& record) {
  return ReplaceFile(PathOf(record.ref(), kRecord), record.SerializeAsString(), 0600);
}

Result<> History::Open() {
  MutexLock lock(mutex_);
  TRY(MakeDirectories(directory_, 0700));
  TRY_WITH(ReadAll(), "reading the build history");
  return {};
}

Result<> History::ReadAll() {
  std::set<std::string> known;
  std::vector<std::string> names = TRY(ListDirectory(directory_));
  for (const std::string& name : names) {
    if (!name.ends_with(kRecord)) continue;
    Record record;
    if (!record.ParseFromString(TRY(ReadFile(directory_ + "/" + name, kMostRecordBytes)))) {
      log::Warning("removing a damaged record of the build history: {}", name);
      continue;
    }
    if (!record.has_completedat()) {
      *record.mutable_completedat() = ToTimestamp(WallClock::now());
      record.mutable_error()->set_code(static_cast<int>(ErrorKind::kUnavailable));
      record.mutable_error()->set_message("the daemon ended before the build did");
      TRY(Write(record));
    }
    known.insert(name.substr(0, name.size() - std::string_view(kRecord).size()));
    records_[record.ref()] = std::move(record);
  }
  for (const std::string& name : names) {
    if (known.contains(name.substr(0, name.find('.'))) && name.find(".tmp-") == std::string::npos) {
      continue;
    }
    if (::unlink((directory_ + "/" + name).c_str()) != 0 && errno != ENOENT) {
      return ErrnoError("removing '{}'", name);
    }
  }
  return {};
}

void History::Tell(api::BuildHistoryEventType type, const Record& record) {
  std::vector<std::shared_ptr<Listener>> listeners;
  {
    MutexLock lock(mutex_);
    std::erase_if(listeners_, [](const auto& one) { return one.expired(); });
    for (const auto& one : listeners_) {
      if (auto listener = one.lock()) listeners.push_back(std::move(listener));
    }
  }
  Event event;
  event.set_type(type);
  *event.mutable_record() = record;
  for (const auto& listener : listeners) listener->tell(event);
}

std::shared_ptr<void> History::Listen(std::function<void(const Event& event)> listener) {
  auto made = std::make_shared<Listener>(Listener{std::move(listener)});
  MutexLock lock(mutex_);
  listeners_.push_back(made);
  return made;
}

Result<> History::Begin(const api::SolveRequest& request) {
  Record record;
  record.set_ref(request.ref());
  record.set_frontend(request.frontend());
  *record.mutable_frontendattrs() = request.frontendattrs();
  *record.mutable_exporters() = request.exporters();
  *record.mutable_createdat() = ToTimestamp(WallClock::now());
  record.set_generation(1);
  TRY(Write(record));
  {
    MutexLock lock(mutex_);
    records_[request.ref()] = record;
  }
  Tell(api::STARTED, record);
  return {};
}

Result<> History::Finish(const std::string& ref, const End& end) {
  Record record;
  {
    MutexLock lock(mutex_);
    auto found = records_.find(ref);
    if (found == records_.end()) return {};
    record = found->second;
  }
  TRY(ReplaceFile(PathOf(ref, kProgress), EncodeProgress(end.progress), 0600));
  CountSteps(end.progress, &record);
  *record.mutable_completedat() = ToTimestamp(WallClock::now());
  for (const auto& [key, value] : end.response) (*record.mutable_exporterresponse())[key] = value;
  if (!end.result.ok()) {
    record.mutable_error()->set_code(static_cast<int>(end.result.error().kind()));
    record.mutable_error()->set_message(end.result.error().message());
  }
  record.set_generation(record.generation() + 1);
  TRY(Write(record));
  {
    MutexLock lock(mutex_);
    records_[ref] = record;
  }
  Tell(api::COMPLETE, record);
  return Trim();
}

std::vector<History::Record> History::List() {
  std::vector<Record> out;
  {
    MutexLock lock(mutex_);
    for (const auto& [ref, record] : records_) out.push_back(record);
  }
  std::sort(out.begin(), out.end(), [](const Record& a, const Record& b) {
    return NanosOf(a.createdat()) < NanosOf(b.createdat());
  });
  return out;
}

Result<> History::Trim() {
  std::vector<Record> records = List();
  std::erase_if(records,
                [](const Record& record) { return record.pinned() || !record.has_completedat(); });
  for (size_t i = 0; i + kMostRecords < records.size(); ++i) TRY(Remove(records[i].ref()));
  return {};
}

Result<> History::Pin(const std::string& ref, bool pinned) {
  Record record;
  {
    MutexLock lock(mutex_);
    auto found = records_.find(ref);
    if (found == records_.end()) return NotFound("no record of a build {}", ref);
    found->second.set_pinned(pinned);
    found->second.set_generation(found->second.generation() + 1);
    record = found->second;
  }
  TRY(Write(record));
  Tell(record.has_completedat() ? api::COMPLETE : api::STARTED, record);
  return {};
}

Result<> History::Remove(const std::string& ref) {
  Record record;
  {
    MutexLock lock(mutex_);
    auto found = records_.find(ref);
    if (found == records_.end()) return NotFound("no record of a build {}", ref);
    if (!found->second.has_completedat()) {
      return FailedPrecondition("build {} runs: its record can't be removed", ref);
    }
    record = std::move(found->second);
    records_.erase(found);
  }
  // Progress without a record is removed at the next start.
  for (const char* kind : {kRecord, kProgress}) {
    if (::unlink(PathOf(ref, kind).c_str()) != 0 && errno != ENOENT) {
      return ErrnoError("removing the record of build {}", ref);
    }
  }
  Tell(api::DELETED, record);
  return {};
}

bool History::HasEnded(const std::string& ref) {
  MutexLock lock(mutex_);
  auto found = records_.find(ref);
  return found != records_.end() && found->second.has_completedat();
}

Result<std::optional<std::vector<History::Update>>> History::ReadProgress(const std::string& ref) {
  if (!HasEnded(ref)) return std::optional<std::vector<Update>>();
  std::string path = PathOf(ref, kProgress);
  // A build that went with the daemon has none.
  if (!PathExists(path)) return std::optional(std::vector<Update>());
  return std::optional(TRY(DecodeProgress(TRY(ReadFile(path, kMostFileBytes)))));
}

}  // namespace gantry::buildkit
