// SPDX-License-Identifier: Apache-2.0
#include "containerd/records.h"

#include "base/random.h"
#include "containerd/names.h"

namespace gantry::containerd {
namespace {

constexpr std::string_view kSchema1 = R"(
CREATE TABLE settings(name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE namespaces(name TEXT PRIMARY KEY, labels TEXT NOT NULL) STRICT, WITHOUT ROWID;
-- record: containerd.services.containers.v1.Container
CREATE TABLE containers(
  ns TEXT NOT NULL, id TEXT NOT NULL, snapshotter TEXT NOT NULL, snapshot_key TEXT NOT NULL,
  record BLOB NOT NULL, PRIMARY KEY(ns, id)) STRICT;
-- record: containerd.services.images.v1.Image
CREATE TABLE images(
  ns TEXT NOT NULL, name TEXT NOT NULL, record BLOB NOT NULL, PRIMARY KEY(ns, name)) STRICT;
-- Labels are JSON objects, times nanoseconds since 1970.
CREATE TABLE content(
  ns TEXT NOT NULL, digest TEXT NOT NULL, size INT NOT NULL, labels TEXT NOT NULL,
  created_at INT NOT NULL, updated_at INT NOT NULL, PRIMARY KEY(ns, digest)) STRICT;
CREATE INDEX content_by_digest ON content(digest);
CREATE TABLE snapshots(
  snapshotter TEXT NOT NULL, ns TEXT NOT NULL, key TEXT NOT NULL, parent TEXT NOT NULL,
  kind INT NOT NULL, number INT NOT NULL, labels TEXT NOT NULL, created_at INT NOT NULL,
  updated_at INT NOT NULL, bytes INT NOT NULL, inodes INT NOT NULL,
  PRIMARY KEY(snapshotter, ns, key), UNIQUE(snapshotter, number)) STRICT;
CREATE INDEX snapshots_by_parent ON snapshots(snapshotter, ns, parent);
CREATE TABLE leases(
  ns TEXT NOT NULL, id TEXT NOT NULL, labels TEXT NOT NULL, created_at INT NOT NULL,
  PRIMARY KEY(ns, id)) STRICT;
CREATE TABLE lease_resources(
  ns TEXT NOT NULL, lease TEXT NOT NULL, type TEXT NOT NULL, id TEXT NOT NULL,
  PRIMARY KEY(ns, lease, type, id)) STRICT, WITHOUT ROWID;
)";

constexpr std::string_view kSchema2 = R"(
-- record: containerd.types.Sandbox
CREATE TABLE sandboxes(
  ns TEXT NOT NULL, id TEXT NOT NULL, record BLOB NOT NULL, PRIMARY KEY(ns, id)) STRICT;
-- number: the directory with the mounts; active: 1 once all are made, 0 while they come or go.
-- record: containerd.types.ActivationInfo
CREATE TABLE mounts(
  number INTEGER PRIMARY KEY AUTOINCREMENT, ns TEXT NOT NULL, name TEXT NOT NULL,
  lease TEXT NOT NULL, active INT NOT NULL, record BLOB NOT NULL, UNIQUE(ns, name)) STRICT;
)";

template <typename Message>
Result<Message> ReadRecord(Rows rows, std::string_view noun, const std::string& name,
                           Error missing) {
  if (!TRY(rows.Next())) return missing;
  Message message;
  std::string_view bytes = rows.Bytes(0);
  if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return MakeError(ErrorKind::kDataLoss, "reading record of {} \"{}\": damaged", noun, name);
  }
  return message;
}

}  // namespace

Result<std::unique_ptr<Database>> OpenRecords(const std::string& path) {
  return Database::Open(path, {kSchema1, kSchema2});
}

Result<std::string> ServerUuid(Database& database) {
  auto tx = TRY(database.Begin());
  {
    auto rows = TRY(tx.Query("SELECT value FROM settings WHERE name = 'uuid'"));
    if (TRY(rows.Next())) return rows.Text(0);
  }
  std::string hex = RandomHex(16);
  hex[12] = '4';  // version and variant of RFC 4122
  hex[16] = "89ab"[static_cast<size_t>(hex[16]) % 4];
  std::string uuid = hex.substr(0, 8) + "-" + hex.substr(8, 4) + "-" + hex.substr(12, 4) + "-" +
                     hex.substr(16, 4) + "-" + hex.substr(20);
  TRY(tx.Execute("INSERT INTO settings VALUES('uuid', ?)", uuid));
  TRY(tx.Commit());
  return uuid;
}

Result<> EnsureNamespace(Transaction& tx, const std::string& ns) {
  TRY(tx.Execute("INSERT OR IGNORE INTO namespaces VALUES(?, '{}')", ns));
  return {};
}

Error NoContainer(const std::string& ns, const std::string& id) {
  return NotFound("container \"{}\" in namespace \"{}\": not found", id, ns);
}

Result<containers_api::Container> GetContainer(Transaction& tx, const std::string& ns,
                                               const std::string& id) {
  return ReadRecord<containers_api::Container>(
      TRY(tx.Query("SELECT record FROM containers WHERE ns = ? AND id = ?", ns, id)), "container",
      id, NoContainer(ns, id));
}

Result<images_api::Image> GetImage(Transaction& tx, const std::string& ns,
                                   const std::string& name) {
  return ReadRecord<images_api::Image>(
      TRY(tx.Query("SELECT record FROM images WHERE ns = ? AND name = ?", ns, name)), "image", name,
      NotFound("image \"{}\": not found", name));
}

Result<::containerd::types::Sandbox> GetSandbox(Transaction& tx, const std::string& ns,
                                                const std::string& id) {
  return ReadRecord<::containerd::types::Sandbox>(
      TRY(tx.Query("SELECT record FROM sandboxes WHERE ns = ? AND id = ?", ns, id)), "sandbox", id,
      NotFound("sandbox \"{}\": not found", id));
}

Result<> InsertImage(Transaction& tx, const std::string& ns, const images_api::Image& image) {
  TRY(EnsureNamespace(tx, ns));
  std::string bytes = image.SerializeAsString();
  TRY_WITH(tx.Execute("INSERT INTO images VALUES(?, ?, ?)", ns, image.name(), Blob{bytes}),
           "image \"{}\"", image.name());
  return {};
}

Result<> UpdateImage(Transaction& tx, const std::string& ns, const images_api::Image& image) {
  std::string bytes = image.SerializeAsString();
  TRY(tx.Execute("UPDATE images SET record = ? WHERE ns = ? AND name = ?", Blob{bytes}, ns,
                 image.name()));
  return {};
}

Result<ContentRecord> GetContent(Transaction& tx, const std::string& ns,
                                 const std::string& digest) {
  auto rows =
      TRY(tx.Query("SELECT size, labels, created_at, updated_at FROM content "
                   "WHERE ns = ? AND digest = ?",
                   ns, digest));
  if (!TRY(rows.Next())) return NotFound("content digest {}: not found", digest);
  ContentRecord record;
  record.digest = digest;
  record.size = static_cast<uint64_t>(rows.Int(0));
  record.labels = TRY(DecodeLabels(rows.Bytes(1)));
  record.created_at = FromUnixNanos(rows.Int(2));
  record.updated_at = FromUnixNanos(rows.Int(3));
  return record;
}

Result<> PutContent(Transaction& tx, const std::string& ns, const ContentRecord& record) {
  TRY(EnsureNamespace(tx, ns));
  auto existing = GetContent(tx, ns, record.digest);
  if (!existing.ok() && existing.error().kind() != ErrorKind::kNotFound) {
    return std::move(existing).error();
  }
  auto labels = existing.ok() ? existing->labels : std::map<std::string, std::string>();
  for (const auto& [key, value] : record.labels) {
    if (value.empty()) {
      labels.erase(key);
    } else {
      labels[key] = value;
    }
  }
  if (existing.ok()) return SetContentLabels(tx, ns, record.digest, labels);
  int64_t now = UnixNanos(WallClock::now());
  TRY(tx.Execute("INSERT INTO content VALUES(?, ?, ?, ?, ?, ?)", ns, record.digest, record.size,
                 EncodeLabels(labels), now, now));
  return {};
}

Result<> SetContentLabels(Transaction& tx, const std::string& ns, const std::string& digest,
                          const std::map<std::string, std::string>& labels) {
  TRY(CheckLabels(labels));
  TRY(tx.Execute("UPDATE content SET labels = ?, updated_at = ? WHERE ns = ? AND digest = ?",
                 EncodeLabels(labels), UnixNanos(WallClock::now()), ns, digest));
  return {};
}

Result<> AddToLease(Transaction& tx, const std::string& ns, const std::string& lease,
                    const std::string& type, const std::string& id) {
  if (lease.empty()) return {};
  {
    auto rows = TRY(tx.Query("SELECT 1 FROM leases WHERE ns = ? AND id = ?", ns, lease));
    if (!TRY(rows.Next())) return NotFound("lease \"{}\": not found", lease);
  }
  TRY(tx.Execute("INSERT OR IGNORE INTO lease_resources VALUES(?, ?, ?, ?)", ns, lease, type, id));
  return {};
}

}  // namespace gantry::containerd
