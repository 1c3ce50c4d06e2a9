// SPDX-License-Identifier: Apache-2.0
//
// Snapshots: layers of file systems under a key in a namespace, as containerd's snapshotters have
// them. An active snapshot (Prepare) is written to, then committed under a name; a committed one is
// the parent of others; a view is read-only. Bytes on disk are the snapshotter's, records (key,
// parent, kind, labels, number) are behind SnapshotRecords, which the container daemon keeps in its
// database.
//
// Order that makes a crash harmless: directory first, then record; record away first, then the
// directory. Recover() throws away directories without a record. Any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/error.h"

namespace gantry::snapshots {

enum class Kind { kView, kActive, kCommitted };
std::string_view KindName(Kind kind);  // "View", "Active", "Committed"

using Labels = std::map<std::string, std::string>;

// Prepare's label for the most that may be written into the new snapshot, decimal bytes.
// Snapshotters without quotas refuse it.
inline constexpr std::string_view kQuotaLabel = "containerd.io/snapshot/gantry.quota-bytes";

struct Usage {
  uint64_t bytes = 0;
  uint64_t inodes = 0;
};

struct Record {
  std::string ns;
  std::string key;
  std::string parent;  // key of the parent; empty: none
  Kind kind = Kind::kActive;
  uint64_t number = 0;  // the directory's name, unique in the snapshotter
  Labels labels;
  WallTime created_at;
  WallTime updated_at;
  Usage usage;  // of committed snapshots
};

// The records of one snapshotter in all namespaces. Each call is atomic and durable as the database
// promises. Any thread.
class SnapshotRecords {
 public:
  virtual ~SnapshotRecords() = default;

  virtual Result<Record> Get(const std::string& ns, const std::string& key) = 0;
  // The numbers of the ancestors of `key`, the parent first, the base last; `key` itself is left
  // out.
  virtual Result<std::vector<uint64_t>> Ancestors(const std::string& ns,
                                                  const std::string& key) = 0;
  // kAlreadyExists: the key is taken. kNotFound: no such parent. kInvalidArgument: the parent is
  // not committed.
  virtual Result<> Insert(const Record& record) = 0;
  // An active record becomes the committed `name`: kind, key, usage and times change, and the
  // labels are replaced. kAlreadyExists: the name is taken. kNotFound: no such key.
  // kFailedPrecondition: not active.
  virtual Result<> Commit(const std::string& ns, const std::string& key, const std::string& name,
                          const Labels& labels, const Usage& usage) = 0;
  // Puts an active record without a parent on top of `parent`. kFailedPrecondition: it is not
  // active or has a parent. kNotFound, kInvalidArgument: the parent, as for Insert.
  virtual Result<> SetParent(const std::string& ns, const std::string& key,
                             const std::string& parent) = 0;
  // Removes a record that has no children and returns it. kFailedPrecondition: it has children.
  virtual Result<Record> Remove(const std::string& ns, const std::string& key) = 0;
  // Replaces the labels; the record afterwards.
  virtual Result<Record> SetLabels(const std::string& ns, const std::string& key,
                                   const Labels& labels) = 0;
  // Every record of a namespace, ordered by key; of all when `ns` is empty.
  virtual Result<std::vector<Record>> List(const std::string& ns) = 0;
};

// As containerd's api/types.Mount.
struct Mount {
  std::string type;  // "bind", "overlay"
  std::string source;
  std::string target;  // below the root; empty: the root itself
  std::vector<std::string> options;
  bool operator==(const Mount&) const = default;
};

class Snapshotter {
 public:
  virtual ~Snapshotter() = default;

  virtual std::string_view name() const = 0;
  // Whether kQuotaLabel is heeded: a matter of the file system as it is mounted now.
  virtual bool HasQuotas() const { return false; }

  Result<Record> Stat(const std::string& ns, const std::string& key) {
    return records().Get(ns, key);
  }
  // Makes a writable snapshot on top of `parent` (empty: of nothing) and returns its mounts.
  // kInvalidArgument: kQuotaLabel is no number above 0. kFailedPrecondition: there are no quotas.
  virtual Result<std::vector<Mount>> Prepare(const std::string& ns, const std::string& key,
                                             const std::string& parent, const Labels& labels) = 0;
  // The same, read-only.
  virtual Result<std::vector<Mount>> View(const std::string& ns, const std::string& key,
                                          const std::string& parent, const Labels& labels) = 0;
  // Of an active snapshot or view; kFailedPrecondition for a committed one.
  virtual Result<std::vector<Mount>> Mounts(const std::string& ns, const std::string& key) = 0;
  // Names an active snapshot `name`. `usage`: what it takes when the caller knows, otherwise it is
  // counted.
  virtual Result<> Commit(const std::string& ns, const std::string& name, const std::string& key,
                          const Labels& labels, std::optional<Usage> usage = {}) = 0;
  // Whether Rebase is there: the files of a snapshot are what it adds to its parent and don't
  // depend on which one that is.
  virtual bool CanRebase() const { return false; }
  // Puts an active snapshot that was made on top of nothing on top of `parent`; its mounts from now
  // on. Errors as SnapshotRecords::SetParent; kUnimplemented without CanRebase().
  virtual Result<std::vector<Mount>> Rebase(const std::string& /*ns*/, const std::string& key,
                                            const std::string& /*parent*/) {
    return Unimplemented("snapshot '{}': {} cannot put it on another parent", key, name());
  }
  // Takes the record away and moves the directory into the trash, which is emptied in the
  // background.
  virtual Result<> Remove(const std::string& ns, const std::string& key) = 0;
  virtual Result<Usage> GetUsage(const std::string& ns, const std::string& key) = 0;
  // Once at start, before anything else: trashes what no record owns.
  virtual Result<> Recover() = 0;

  virtual SnapshotRecords& records() = 0;
};

// Records in memory, for tests.
std::unique_ptr<SnapshotRecords> MakeMemoryRecords();

}  // namespace gantry::snapshots
