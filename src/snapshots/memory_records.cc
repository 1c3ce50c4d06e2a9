// SPDX-License-Identifier: Apache-2.0
#include <map>
#include <utility>

#include "base/mutex.h"
#include "snapshots/snapshotter.h"

namespace gantry::snapshots {
namespace {

class MemoryRecords : public SnapshotRecords {
 public:
  Result<Record> Get(const std::string& ns, const std::string& key) override {
    MutexLock lock(mutex_);
    return Find(ns, key);
  }

  Result<std::vector<uint64_t>> Ancestors(const std::string& ns, const std::string& key) override {
    MutexLock lock(mutex_);
    std::vector<uint64_t> numbers;
    Record record = TRY(Find(ns, key));
    while (!record.parent.empty()) {
      record = TRY(Find(ns, record.parent));
      numbers.push_back(record.number);
    }
    return numbers;
  }

  Result<> Insert(const Record& record) override {
    MutexLock lock(mutex_);
    if (records_.count({record.ns, record.key}) != 0) {
      return AlreadyExists("snapshot '{}': already exists", record.key);
    }
    if (!record.parent.empty()) {
      Record parent = TRY(Find(record.ns, record.parent));
      if (parent.kind != Kind::kCommitted) {
        return InvalidArgument("snapshot '{}': parent '{}' is not committed", record.key,
                               record.parent);
      }
    }
    records_[{record.ns, record.key}] = record;
    return {};
  }

  Result<> Commit(const std::string& ns, const std::string& key, const std::string& name,
                  const Labels& labels, const Usage& usage) override {
    MutexLock lock(mutex_);
    if (records_.count({ns, name}) != 0)
      return AlreadyExists("snapshot '{}': already exists", name);
    Record record = TRY(Find(ns, key));
    if (record.kind != Kind::kActive) {
      return FailedPrecondition("snapshot '{}': not active", key);
    }
    records_.erase({ns, key});
    record.key = name;
    record.kind = Kind::kCommitted;
    record.labels = labels;
    record.usage = usage;
    record.created_at = record.updated_at = WallClock::now();
    records_[{ns, name}] = std::move(record);
    return {};
  }

  Result<> SetParent(const std::string& ns, const std::string& key,
                     const std::string& parent) override {
    MutexLock lock(mutex_);
    Record record = TRY(Find(ns, key));
    if (record.kind != Kind::kActive || !record.parent.empty()) {
      return FailedPrecondition("snapshot '{}': not active, or it has a parent", key);
    }
    if (TRY(Find(ns, parent)).kind != Kind::kCommitted) {
      return InvalidArgument("snapshot '{}': parent '{}' is not committed", key, parent);
    }
    records_[{ns, key}].parent = parent;
    return {};
  }

  Result<Record> Remove(const std::string& ns, const std::string& key) override {
    MutexLock lock(mutex_);
    Record record = TRY(Find(ns, key));
    for (const auto& [id, other] : records_) {
      if (other.ns == ns && other.parent == key) {
        return FailedPrecondition("snapshot '{}': it has children, such as '{}'", key, other.key);
      }
    }
    records_.erase({ns, key});
    return record;
  }

  Result<Record> SetLabels(const std::string& ns, const std::string& key,
                           const Labels& labels) override {
    MutexLock lock(mutex_);
    TRY(Find(ns, key));
    Record& record = records_[{ns, key}];
    record.labels = labels;
    record.updated_at = WallClock::now();
    return record;
  }

  Result<std::vector<Record>> List(const std::string& ns) override {
    MutexLock lock(mutex_);
    std::vector<Record> all;
    for (const auto& [id, record] : records_) {
      if (ns.empty() || record.ns == ns) all.push_back(record);
    }
    return all;
  }

 private:
  Result<Record> Find(const std::string& ns, const std::string& key) REQUIRES(mutex_) {
    auto found = records_.find({ns, key});
    if (found == records_.end()) return NotFound("snapshot '{}': not found", key);
    return found->second;
  }

  Mutex mutex_;
  std::map<std::pair<std::string, std::string>, Record> records_ GUARDED_BY(mutex_);
};

}  // namespace

std::string_view KindName(Kind kind) {
  switch (kind) {
    case Kind::kView:
      return "View";
    case Kind::kActive:
      return "Active";
    case Kind::kCommitted:
      return "Committed";
  }
  return "Unknown";
}

std::unique_ptr<SnapshotRecords> MakeMemoryRecords() { return std::make_unique<MemoryRecords>(); }

}  // namespace gantry::snapshots
