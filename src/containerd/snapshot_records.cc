// SPDX-License-Identifier: Apache-2.0
#include "containerd/snapshot_records.h"

#include "containerd/names.h"
#include "containerd/records.h"

namespace gantry::containerd {
namespace {

using snapshots::Kind;
using snapshots::Record;

constexpr std::string_view kSelect =
    "SELECT ns, key, parent, kind, number, labels, created_at, updated_at, bytes, inodes "
    "FROM snapshots WHERE snapshotter = ? AND ns = ? AND key = ?";
constexpr std::string_view kSelectNamespace =
    "SELECT ns, key, parent, kind, number, labels, created_at, updated_at, bytes, inodes "
    "FROM snapshots WHERE snapshotter = ? AND ns = ? ORDER BY key";
constexpr std::string_view kSelectAll =
    "SELECT ns, key, parent, kind, number, labels, created_at, updated_at, bytes, inodes "
    "FROM snapshots WHERE snapshotter = ? ORDER BY ns, key";

Result<Record> ReadRow(const Rows& rows) {
  Record record;
  record.ns = rows.Text(0);
  record.key = rows.Text(1);
  record.parent = rows.Text(2);
  record.kind = static_cast<Kind>(rows.Int(3));
  record.number = static_cast<uint64_t>(rows.Int(4));
  record.labels = TRY(DecodeLabels(rows.Bytes(5)));
  record.created_at = FromUnixNanos(rows.Int(6));
  record.updated_at = FromUnixNanos(rows.Int(7));
  record.usage = {static_cast<uint64_t>(rows.Int(8)), static_cast<uint64_t>(rows.Int(9))};
  return record;
}

class SqlSnapshotRecords : public snapshots::SnapshotRecords {
 public:
  SqlSnapshotRecords(Database* database, std::string snapshotter)
      : database_(database), snapshotter_(std::move(snapshotter)) {}

  Result<Record> Get(const std::string& ns, const std::string& key) override {
    auto tx = TRY(database_->Read());
    return Find(tx, ns, key);
  }

  Result<std::vector<uint64_t>> Ancestors(const std::string& ns, const std::string& key) override {
    auto tx = TRY(database_->Read());
    std::vector<uint64_t> numbers;
    Record record = TRY(Find(tx, ns, key));
    while (!record.parent.empty()) {
      record = TRY(Find(tx, ns, record.parent));
      numbers.push_back(record.number);
    }
    return numbers;
  }

  Result<> Insert(const Record& record) override {
    TRY_WITH(CheckLabels(record.labels), "snapshot \"{}\"", record.key);
    auto tx = TRY(database_->Begin());
    TRY(EnsureNamespace(tx, record.ns));
    if (!record.parent.empty()) {
      auto parent = Find(tx, record.ns, record.parent);
      if (!parent.ok()) {
        return std::move(parent).error().AddContext(fmt::format("parent of \"{}\"", record.key));
      }
      if (parent->kind != Kind::kCommitted) {
        return InvalidArgument("snapshot \"{}\": parent \"{}\" is not committed", record.key,
                               record.parent);
      }
    }
    TRY_WITH(
        tx.Execute("INSERT INTO snapshots VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", snapshotter_,
                   record.ns, record.key, record.parent, static_cast<int>(record.kind),
                   record.number, EncodeLabels(record.labels), UnixNanos(record.created_at),
                   UnixNanos(record.updated_at), record.usage.bytes, record.usage.inodes),
        "snapshot \"{}\"", record.key);
    return tx.Commit();
  }

  Result<> Commit(const std::string& ns, const std::string& key, const std::string& name,
                  const snapshots::Labels& labels, const snapshots::Usage& usage) override {
    TRY_WITH(CheckLabels(labels), "snapshot \"{}\"", name);
    auto tx = TRY(database_->Begin());
    Record record = TRY(Find(tx, ns, key));
    if (record.kind != Kind::kActive) {
      return FailedPrecondition("snapshot \"{}\": is not active", key);
    }
    int64_t now = UnixNanos(WallClock::now());
    TRY_WITH(tx.Execute("UPDATE snapshots SET key = ?, kind = ?, labels = ?, created_at = ?, "
                        "updated_at = ?, bytes = ?, inodes = ? "
                        "WHERE snapshotter = ? AND ns = ? AND key = ?",
                        name, static_cast<int>(Kind::kCommitted), EncodeLabels(labels), now, now,
                        usage.bytes, usage.inodes, snapshotter_, ns, key),
             "snapshot \"{}\"", name);
    // A lease holds the snapshot itself, under whatever name.
    TRY(
        tx.Execute("UPDATE OR IGNORE lease_resources SET id = ? WHERE ns = ? AND type = ? "
                   "AND id = ?",
                   name, ns, "snapshots/" + snapshotter_, key));
    return tx.Commit();
  }

  Result<> SetParent(const std::string& ns, const std::string& key,
                     const std::string& parent) override {
    auto tx = TRY(database_->Begin());
    Record record = TRY(Find(tx, ns, key));
    if (record.kind != Kind::kActive || !record.parent.empty()) {
      return FailedPrecondition("snapshot \"{}\": it is not active, or has a parent", key);
    }
    Record below = TRY_WITH(Find(tx, ns, parent), "parent of \"{}\"", key);
    if (below.kind != Kind::kCommitted) {
      return InvalidArgument("snapshot \"{}\": parent \"{}\" is not committed", key, parent);
    }
    TRY(tx.Execute("UPDATE snapshots SET parent = ? WHERE snapshotter = ? AND ns = ? AND key = ?",
                   parent, snapshotter_, ns, key));
    return tx.Commit();
  }

  Result<Record> Remove(const std::string& ns, const std::string& key) override {
    auto tx = TRY(database_->Begin());
    Record record = TRY(Find(tx, ns, key));
    {
      auto rows =
          TRY(tx.Query("SELECT 1 FROM snapshots WHERE snapshotter = ? AND ns = ? "
                       "AND parent = ? LIMIT 1",
                       snapshotter_, ns, key));
      if (TRY(rows.Next())) {
        return FailedPrecondition("cannot remove snapshot with child");
      }
    }
    TRY(tx.Execute("DELETE FROM snapshots WHERE snapshotter = ? AND ns = ? AND key = ?",
                   snapshotter_, ns, key));
    TRY(tx.Commit());
    return record;
  }

  Result<Record> SetLabels(const std::string& ns, const std::string& key,
                           const snapshots::Labels& labels) override {
    TRY_WITH(CheckLabels(labels), "snapshot \"{}\"", key);
    auto tx = TRY(database_->Begin());
    Record record = TRY(Find(tx, ns, key));
    record.labels = labels;
    record.updated_at = WallClock::now();
    TRY(
        tx.Execute("UPDATE snapshots SET labels = ?, updated_at = ? "
                   "WHERE snapshotter = ? AND ns = ? AND key = ?",
                   EncodeLabels(labels), UnixNanos(record.updated_at), snapshotter_, ns, key));
    TRY(tx.Commit());
    return record;
  }

  Result<std::vector<Record>> List(const std::string& ns) override {
    auto tx = TRY(database_->Read());
    auto rows = ns.empty() ? TRY(tx.Query(kSelectAll, snapshotter_))
                           : TRY(tx.Query(kSelectNamespace, snapshotter_, ns));
    std::vector<Record> records;
    while (TRY(rows.Next())) records.push_back(TRY(ReadRow(rows)));
    return records;
  }

 private:
  Result<Record> Find(Transaction& tx, const std::string& ns, const std::string& key) {
    auto rows = TRY(tx.Query(kSelect, snapshotter_, ns, key));
    if (!TRY(rows.Next())) return NotFound("snapshot {} does not exist: not found", key);
    return ReadRow(rows);
  }

  Database* database_;
  const std::string snapshotter_;
};

}  // namespace

std::unique_ptr<snapshots::SnapshotRecords> MakeSnapshotRecords(Database* database,
                                                                const std::string& snapshotter) {
  return std::make_unique<SqlSnapshotRecords>(database, snapshotter);
}

}  // namespace gantry::containerd
