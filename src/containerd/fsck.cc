// SPDX-License-Identifier: Apache-2.0
#include "containerd/fsck.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/directory.h"
#include "base/io.h"
#include "base/pid_file.h"
#include "containerd/records.h"
#include "content/blob_store.h"
#include "formats/digest.h"
#include "formats/json.h"
#include "kernel/btrfs.h"
#include "kernel/paths.h"
#include "records/faults.h"
#include "snapshots/snapshotter.h"

namespace gantry::containerd {
namespace {

using formats::Digest;
using records::Fault;

constexpr std::string_view kTasks = "io.containerd.runtime.v2.task";
constexpr std::string_view kSandboxes = "io.containerd.sandbox.controller.v1.shim";

class Checker {
 public:
  Checker(const FsckOptions& options, Database* database)
      : options_(options), root_(options.root), database_(database) {}

  // Everything that is wrong now.
  Result<std::vector<Fault>> Look() {
    faults_.clear();
    blobs_ = snapshots_ = 0;
    TRY(CheckTop());
    TRY(CheckContent());
    TRY(CheckIngests());
    for (const char* name : {"overlayfs", "native", "btrfs"}) TRY(CheckSnapshotter(name));
    TRY(CheckParents());
    TRY(CheckImages());
    TRY(CheckContainers());
    TRY(CheckBundles(kTasks, "container", "SELECT ns, id FROM containers"));
    TRY(CheckBundles(kSandboxes, "sandbox", "SELECT ns, id FROM sandboxes"));
    TRY(CheckLeases());
    return std::move(faults_);
  }
  // What there is, for FsckOptions::inventory.
  Result<formats::Json> Inventory() {
    formats::Json all = formats::Json::MakeObject();
    auto tx = TRY(database_->Read());
    auto list = [&](const char* kind, std::string_view query) -> Result<> {
      std::map<std::string, formats::Json> by_namespace;
      auto rows = TRY(tx.Query(query));
      while (TRY(rows.Next())) {
        auto [found, fresh] = by_namespace.try_emplace(rows.Text(0), formats::Json::MakeArray());
        found->second.Append(rows.Text(1));
      }
      for (auto& [ns, names] : by_namespace) {
        formats::Json one = all[ns].is_object() ? all[ns] : formats::Json::MakeObject();
        one.Set(kind, std::move(names));
        all.Set(ns, std::move(one));
      }
      return {};
    };
    TRY(list("snapshots", "SELECT ns, key FROM snapshots"));
    TRY(list("content", "SELECT ns, digest FROM content"));
    TRY(list("leases", "SELECT ns, id FROM leases"));
    return all;
  }
  size_t blobs() const { return blobs_; }
  size_t snapshots() const { return snapshots_; }

 private:
  void Add(std::string text, std::string remedy, std::function<Result<>()> repair) {
    faults_.push_back({std::move(text), std::move(remedy), std::move(repair)});
  }
  void AddTree(std::string text, const std::string& path) {
    Add(std::move(text), "it is removed", [path] { return kernel::RemoveTree(path); });
  }

  template <typename... Values>
  std::function<Result<>()> Deletion(std::string sql, Values... values) {
    return [this, sql = std::move(sql), values...]() -> Result<> {
      auto tx = TRY(database_->Begin());
      TRY(tx.Execute(sql, values...));
      return tx.Commit();
    };
  }

  Result<> CheckTop() {
    static const std::set<std::string> kKnown = {
        "lock",      "meta.db", "meta.db-wal", "meta.db-shm",       "content",
        "snapshots", "trash",   "events",      std::string(kTasks), std::string(kSandboxes)};
    for (const std::string& name : TRY(ListDirectoryIfThere(root_))) {
      if (!kKnown.contains(name))
        Add(fmt::format("'{}/{}' is nothing of ours", root_, name), "", {});
    }
    for (const std::string& name : TRY(ListDirectoryIfThere(root_ + "/content"))) {
      if (name != "blobs" && name != "ingest") {
        Add(fmt::format("'{}/content/{}' is nothing of ours", root_, name), "", {});
      }
    }
    auto tx = TRY(database_->Read());
    auto rows = TRY(tx.Query("PRAGMA integrity_check"));
    while (TRY(rows.Next())) {
      if (rows.Text(0) != "ok") Add(fmt::format("meta.db: {}", rows.Text(0)), "", {});
    }
    return {};
  }

  // "" when the file is what the record says.
  Result<std::string> Compare(const std::string& path, const Digest& digest, uint64_t size) {
    struct stat status;
    if (::lstat(path.c_str(), &status) != 0) {
      if (errno == ENOENT) return std::string("its file is missing");
      return ErrnoError("reading '{}'", path);
    }
    if (!S_ISREG(status.st_mode)) return std::string("it is no file");
    if (static_cast<uint64_t>(status.st_size) != size) {
      return fmt::format("it has {} bytes, its record says {}", status.st_size, size);
    }
    if (options_.quick) return std::string();
    FdSource source(TRY(OpenFile(path, O_RDONLY)));
    formats::Hasher hasher(digest.algorithm());
    for (;;) {
      std::string_view data = TRY(source.Next());
      if (data.empty()) break;
      hasher.Update(data);
    }
    Digest found = hasher.Current();
    if (found != digest) return fmt::format("its digest is {}", found.text());
    return std::string();
  }

  Result<> CheckContent() {
    std::map<std::string, std::pair<uint64_t, bool>> records;  // digest: size, all records agree
    {
      auto tx = TRY(database_->Read());
      auto rows = TRY(tx.Query("SELECT digest, size FROM content"));
      while (TRY(rows.Next())) {
        auto size = static_cast<uint64_t>(rows.Int(1));
        auto [found, fresh] = records.try_emplace(rows.Text(0), size, true);
        if (!fresh && found->second.first != size) found->second.second = false;
      }
    }
    for (const auto& [text, record] : records) {
      auto forget = Deletion("DELETE FROM content WHERE digest = ?", text);
      auto digest = Digest::Parse(text);
      if (!digest.ok()) {
        Add(fmt::format("content record '{}': no digest", text), "the record is removed", forget);
        continue;
      }
      ++blobs_;
      std::string path = BlobPath(*digest);
      std::string wrong = TRY(Compare(path, *digest, record.first));
      if (wrong.empty() && !record.second) wrong = "its records name different sizes";
      if (wrong.empty()) continue;
      Add(fmt::format("blob {}: {}", text, wrong), "file and records are removed",
          [path, forget]() -> Result<> {
            if (PathExists(path)) TRY(kernel::RemoveTree(path));
            return forget();
          });
    }
    for (const std::string& algorithm : TRY(ListDirectoryIfThere(root_ + "/content/blobs"))) {
      std::string directory = root_ + "/content/blobs/" + algorithm;
      for (const std::string& name : TRY(ListDirectoryIfThere(directory))) {
        if (records.contains(algorithm + ":" + name)) continue;
        AddTree(fmt::format("blob {}:{}: no record names it", algorithm, name),
                directory + "/" + name);
      }
    }
    return {};
  }

  std::string BlobPath(const Digest& digest) const {
    return fmt::format("{}/content/blobs/{}/{}", root_, digest.algorithm_name(), digest.hex());
  }

  // A write is its own record: it says whose it is, and may be gone on with.
  Result<> CheckIngests() {
    auto store = TRY(content::BlobStore::Open(root_ + "/content"));
    std::set<std::string> whole;
    for (const content::IngestStatus& ingest : TRY(store->Ingests(""))) {
      whole.insert(std::string(Digest::Of(ingest.ns + "/" + ingest.ref).hex()));
    }
    for (const std::string& name : TRY(ListDirectoryIfThere(root_ + "/content/ingest"))) {
      std::string path = root_ + "/content/ingest/" + name;
      if (!whole.contains(name)) {
        AddTree(fmt::format("write '{}': it does not say whose it is", name), path);
        continue;
      }
      static const std::set<std::string> kFiles = {"data", "ref", "startedat", "total", "expected"};
      for (const std::string& file : TRY(ListDirectoryIfThere(path))) {
        if (!kFiles.contains(file)) {
          AddTree(fmt::format("write '{}': '{}' is no part of it", name, file), path + "/" + file);
        }
      }
    }
    return {};
  }

  struct Snapshot {
    std::string ns;
    std::string key;
    std::string parent;
    int64_t kind = 0;
  };

  Result<> CheckSnapshotter(const std::string& name) {
    std::map<std::string, Snapshot> records;  // by number
    {
      auto tx = TRY(database_->Read());
      auto rows = TRY(tx.Query(
          "SELECT number, ns, key, parent, kind FROM snapshots WHERE snapshotter = ?", name));
      while (TRY(rows.Next())) {
        records[fmt::format("{}", rows.Int(0))] = {rows.Text(1), rows.Text(2), rows.Text(3),
                                                   rows.Int(4)};
      }
    }
    std::string top = root_ + "/snapshots/" + name + (name == "btrfs" ? "/snapshots" : "");
    for (const std::string& number : TRY(ListDirectoryIfThere(top))) {
      if (records.contains(number)) continue;
      std::string path = top + "/" + number;
      Add(fmt::format("snapshot directory '{}': no record names it", path), "it is removed",
          [path, name]() -> Result<> {
            if (name == "btrfs" && kernel::DeleteSubvolume(path).ok()) return {};
            return kernel::RemoveTree(path);
          });
    }
    for (const auto& [number, record] : records) {
      ++snapshots_;
      bool is_view = record.kind == static_cast<int64_t>(snapshots::Kind::kView);
      // It shows its parent's own directory.
      if (name == "native" && is_view && !record.parent.empty()) continue;
      std::string path = top + "/" + number;
      bool active = record.kind == static_cast<int64_t>(snapshots::Kind::kActive);
      std::string missing = !PathExists(path) ? path : "";
      if (name == "overlayfs" && missing.empty()) {
        if (!PathExists(path + "/fs")) missing = path + "/fs";
        if (active && !PathExists(path + "/work")) missing = path + "/work";
      }
      if (missing.empty()) continue;
      Add(fmt::format("snapshot '{}' of {} in namespace '{}': '{}' is missing", record.key, name,
                      record.ns, missing),
          "its record is removed",
          Deletion("DELETE FROM snapshots WHERE snapshotter = ? AND ns = ? AND key = ?", name,
                   record.ns, record.key));
    }
    return {};
  }

  Result<> CheckParents() {
    auto tx = TRY(database_->Read());
    auto rows = TRY(tx.Query(
        "SELECT s.snapshotter, s.ns, s.key, s.parent, s.kind FROM snapshots s LEFT JOIN snapshots "
        "p ON "
        "p.snapshotter = s.snapshotter AND p.ns = s.ns AND p.key = s.parent WHERE s.parent != '' "
        "AND p.key IS NULL"));
    while (TRY(rows.Next())) {
      std::string fault =
          fmt::format("snapshot '{}' of {} in namespace '{}': its parent '{}' is missing",
                      rows.Text(2), rows.Text(0), rows.Text(1), rows.Text(3));
      if (rows.Int(4) == static_cast<int64_t>(snapshots::Kind::kActive)) {
        // What was written to it is nowhere else; without its record it would be nobody's.
        Add(std::move(fault), "", {});
        continue;
      }
      Add(std::move(fault), "its record is removed",
          Deletion("DELETE FROM snapshots WHERE snapshotter = ? AND ns = ? AND key = ?",
                   rows.Text(0), rows.Text(1), rows.Text(2)));
    }
    return {};
  }

  Result<> CheckImages() {
    auto tx = TRY(database_->Read());
    auto rows = TRY(tx.Query("SELECT ns, name, record FROM images"));
    while (TRY(rows.Next())) {
      std::string ns = rows.Text(0);
      std::string name = rows.Text(1);
      images_api::Image image;
      std::string_view bytes = rows.Bytes(2);
      std::string wrong;
      if (!image.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
        wrong = "its record is damaged";
      } else {
        auto content = TRY(tx.Query("SELECT 1 FROM content WHERE ns = ? AND digest = ?", ns,
                                    image.target().digest()));
        if (!TRY(content.Next())) wrong = fmt::format("{} is missing", image.target().digest());
      }
      if (wrong.empty()) continue;
      Add(fmt::format("image '{}' in namespace '{}': {}", name, ns, wrong), "its record is removed",
          Deletion("DELETE FROM images WHERE ns = ? AND name = ?", ns, name));
    }
    return {};
  }

  // A container is somebody's: it is never removed here.
  Result<> CheckContainers() {
    auto tx = TRY(database_->Read());
    auto rows = TRY(tx.Query(
        "SELECT c.ns, c.id, c.snapshotter, c.snapshot_key FROM containers c LEFT JOIN snapshots s "
        "ON s.snapshotter = c.snapshotter AND s.ns = c.ns AND s.key = c.snapshot_key "
        "WHERE c.snapshot_key != '' AND s.key IS NULL"));
    while (TRY(rows.Next())) {
      Add(fmt::format("container '{}' in namespace '{}': its snapshot '{}' of {} is missing",
                      rows.Text(1), rows.Text(0), rows.Text(3), rows.Text(2)),
          "", {});
    }
    return {};
  }

  // Work directories of shims, which may run while no daemon does.
  Result<> CheckBundles(std::string_view folder, const char* noun, std::string_view query) {
    std::set<std::pair<std::string, std::string>> owners;
    {
      auto tx = TRY(database_->Read());
      auto rows = TRY(tx.Query(query));
      while (TRY(rows.Next())) owners.emplace(rows.Text(0), rows.Text(1));
    }
    std::string top = root_ + "/" + std::string(folder);
    for (const std::string& ns : TRY(ListDirectoryIfThere(top))) {
      for (const std::string& id : TRY(ListDirectoryIfThere(top + "/" + ns))) {
        if (owners.contains({ns, id})) continue;
        AddTree(
            fmt::format("work directory of '{}' in namespace '{}': no {} names it", id, ns, noun),
            top + "/" + ns + "/" + id);
      }
    }
    return {};
  }

  Result<> CheckLeases() {
    auto tx = TRY(database_->Read());
    auto rows = TRY(
        tx.Query("SELECT r.ns, r.lease, r.type, r.id FROM lease_resources r LEFT JOIN leases l ON "
                 "l.ns = r.ns AND l.id = r.lease WHERE l.id IS NULL"));
    while (TRY(rows.Next())) {
      Add(fmt::format("lease '{}' in namespace '{}' is missing, but keeps {} '{}'", rows.Text(1),
                      rows.Text(0), rows.Text(2), rows.Text(3)),
          "the record is removed",
          Deletion("DELETE FROM lease_resources WHERE ns = ? AND lease = ? AND type = ? AND id = ?",
                   rows.Text(0), rows.Text(1), rows.Text(2), rows.Text(3)));
    }
    return {};
  }

  const FsckOptions& options_;
  const std::string root_;
  Database* const database_;
  std::vector<Fault> faults_;
  size_t blobs_ = 0;
  size_t snapshots_ = 0;
};

}  // namespace

Result<FsckResult> Fsck(const FsckOptions& options,
                        const std::function<void(const std::string&)>& report) {
  // Nothing is made where nothing is.
  if (!PathExists(options.root + "/meta.db")) {
    return NotFound("checking '{}': there is no meta.db", options.root);
  }
  PidFile lock = TRY_WITH(PidFile::Lock(options.root + "/lock"), "checking '{}'", options.root);
  auto database = TRY(OpenRecords(options.root + "/meta.db"));
  Checker checker(options, database.get());
  auto count =
      TRY(records::ReportAndRepair([&] { return checker.Look(); }, options.repair, report));
  if (!options.inventory.empty()) {
    TRY(ReplaceFile(options.inventory, TRY(checker.Inventory()).Dump(), 0600));
  }
  return FsckResult{checker.blobs(), checker.snapshots(), count.faults, count.repaired};
}

}  // namespace gantry::containerd
