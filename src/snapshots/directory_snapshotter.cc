// SPDX-License-Identifier: Apache-2.0
#include "snapshots/directory_snapshotter.h"

#include <algorithm>
#include <charconv>

#include "base/directory.h"
#include "base/io.h"
#include "base/number.h"
#include "base/undo.h"
#include "snapshots/disk_usage.h"

namespace gantry::snapshots {
namespace {

Result<std::optional<uint64_t>> QuotaOf(const Labels& labels) {
  auto found = labels.find(std::string(kQuotaLabel));
  if (found == labels.end()) return std::optional<uint64_t>();
  std::optional<uint64_t> bytes = ParseNumber<uint64_t>(found->second);
  if (!bytes || *bytes == 0) {
    return InvalidArgument("label {}: '{}' is no number of bytes", kQuotaLabel, found->second);
  }
  return bytes;
}

}  // namespace

std::string DirectorySnapshotter::Directory(uint64_t number) const {
  return fmt::format("{}/{}", root_, number);
}

Result<std::vector<Mount>> DirectorySnapshotter::Create(const std::string& ns,
                                                        const std::string& key,
                                                        const std::string& parent, Kind kind,
                                                        const Labels& labels) {
  if (key.empty()) return InvalidArgument("preparing snapshot: no key");
  // Asked first, although Insert checks again: a copy of the parent may be large.
  auto existing = records_->Get(ns, key);
  if (existing.ok()) return AlreadyExists("snapshot \"{}\": already exists", key);
  if (existing.error().kind() != ErrorKind::kNotFound) return std::move(existing).error();

  std::vector<uint64_t> ancestors;
  if (!parent.empty()) {
    Result<Record> found = records_->Get(ns, parent);
    if (!found.ok() && found.error().kind() == ErrorKind::kNotFound) {
      return NotFound("parent snapshot {} does not exist: not found", parent);
    }
    Record record = TRY(std::move(found));
    if (record.kind != Kind::kCommitted) {
      return InvalidArgument("preparing snapshot '{}': parent '{}' is not committed", key, parent);
    }
    ancestors = TRY(records_->Ancestors(ns, parent));
    ancestors.insert(ancestors.begin(), record.number);
  }

  auto quota = TRY_WITH(QuotaOf(labels), "preparing snapshot '{}'", key);
  if (quota && !HasQuotas()) {
    return FailedPrecondition("preparing snapshot '{}': {} has no quotas here", key, name());
  }
  uint64_t number = ++last_number_;
  std::string directory = Directory(number);
  Undo undo;
  // What cannot be thrown away now has no record and goes at the next start.
  undo.Push([&] { (void)Discard(directory).ok(); });
  TRY_WITH(MakeDirectory({directory, kind, ancestors, quota}), "preparing snapshot '{}'", key);
  WallTime now = WallClock::now();
  TRY(records_->Insert({.ns = ns,
                        .key = key,
                        .parent = parent,
                        .kind = kind,
                        .number = number,
                        .labels = labels,
                        .created_at = now,
                        .updated_at = now}));
  undo.Commit();
  return MountsOf(number, kind, ancestors);
}

Result<std::vector<Mount>> DirectorySnapshotter::Mounts(const std::string& ns,
                                                        const std::string& key) {
  Record record = TRY(records_->Get(ns, key));
  if (record.kind == Kind::kCommitted) {
    return FailedPrecondition("mounting snapshot '{}': it is committed", key);
  }
  return MountsOf(record.number, record.kind, TRY(records_->Ancestors(ns, key)));
}

Result<> DirectorySnapshotter::Commit(const std::string& ns, const std::string& name,
                                      const std::string& key, const Labels& labels,
                                      std::optional<Usage> usage) {
  if (name.empty()) return InvalidArgument("committing snapshot '{}': no name", key);
  Record record = TRY(records_->Get(ns, key));
  if (record.kind != Kind::kActive) {
    return FailedPrecondition("failed to commit snapshot: snapshot \"{}\" is not active", key);
  }
  if (!usage) usage = TRY_WITH(DiskUsage(Files(record.number)), "committing snapshot '{}'", key);
  return records_->Commit(ns, key, name, labels, *usage);
}

Result<std::vector<Mount>> DirectorySnapshotter::Rebase(const std::string& ns,
                                                        const std::string& key,
                                                        const std::string& parent) {
  if (!CanRebase()) return Snapshotter::Rebase(ns, key, parent);
  TRY_WITH(records_->SetParent(ns, key, parent), "putting snapshot '{}' on '{}'", key, parent);
  return Mounts(ns, key);
}

Result<> DirectorySnapshotter::Remove(const std::string& ns, const std::string& key) {
  Record record = TRY(records_->Remove(ns, key));
  TRY_WITH(Discard(Directory(record.number)), "removing snapshot '{}'", key);
  return {};
}

Result<Usage> DirectorySnapshotter::GetUsage(const std::string& ns, const std::string& key) {
  Record record = TRY(records_->Get(ns, key));
  if (record.kind == Kind::kCommitted) return record.usage;
  if (!PathExists(Files(record.number))) return Usage{};  // a view of its parent's directory
  return DiskUsage(Files(record.number));
}

Result<> DirectorySnapshotter::Recover() {
  std::set<uint64_t> owned;
  uint64_t last = 0;
  for (const Record& record : TRY(records_->List(""))) {
    owned.insert(record.number);
    last = std::max(last, record.number);
  }
  std::vector<uint64_t> unowned;
  for (const std::string& name : TRY(ListDirectory(root_))) {
    uint64_t number = 0;
    auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
    if (error != std::errc() || end != name.data() + name.size()) continue;
    last = std::max(last, number);
    if (owned.count(number) == 0) unowned.push_back(number);
  }
  last_number_ = last;
  for (uint64_t number : unowned) TRY(Discard(Directory(number)));
  return {};
}

}  // namespace gantry::snapshots
