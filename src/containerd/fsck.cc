// SPDX-License-Identifier: Apache-2.0
#include "containerd/fsck.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <set>

#include "base/directory.h"
#include "base/io.h"
#include "base/pid_file.h"
#include "containerd/names.h"
#include "containerd/records.h"
#include "content/blob_store.h"
#include "formats/digest.h"
#include "snapshots/snapshotter.h"
#include "snapshots/trash.h"

namespace gantry::containerd {
namespace {

constexpr size_t kReadBytes = size_t{1} << 20;
constexpr const char* kBundles = "io.containerd.runtime.v2.task";
constexpr const char* kSandboxes = "io.containerd.sandbox.controller.v1.shim";

// Names in a directory; none where there is no such.
Result<std::set<std::string>> NamesIn(const std::string& path) {
  std::set<std::string> names;
  DirectoryHandle directory(::opendir(path.c_str()));
  if (!directory && errno == ENOENT) return names;
  if (!directory) return ErrnoError("listing '{}'", path);
  errno = 0;
  while (const dirent* entry = ::readdir(directory.get())) {
    std::string name = entry->d_name;
    if (name != "." && name != "..") names.insert(std::move(name));
    errno = 0;
  }
  if (errno != 0) return ErrnoError("listing '{}'", path);
  return names;
}

Result<formats::Digest> DigestOfFile(BorrowedFd file, formats::DigestAlgorithm algorithm) {
  formats::Hasher hasher(algorithm);
  std::string buffer(kReadBytes, '\0');
  for (;;) {
    size_t count = TRY(ReadSome(file, buffer.data(), buffer.size()));
    if (count == 0) return hasher.Current();
    hasher.Update({buffer.data(), count});
  }
}

struct SnapshotRow {
  std::string snapshotter, ns, key, parent;
  snapshots::Kind kind;
  uint64_t number;
};

class Checker {
 public:
  Checker(std::string root, FsckMode mode) : root_(std::move(root)), mode_(mode) {}

  Result<FsckReport> Run() {
    if (!PathExists(root_ + "/meta.db")) return NotFound("no store in '{}'", root_);
    PidFile lock = TRY(PidFile::Lock(root_ + "/lock"));
    database_ = TRY(OpenRecords(root_ + "/meta.db"));
    if (mode_ == FsckMode::kRepair) trash_ = TRY(snapshots::Trash::Open(root_ + "/trash"));
    TRY(CheckDatabase());
    TRY(CheckTop());
    TRY(CheckContent());
    TRY(CheckIngests());
    TRY(CheckSnapshots());
    TRY(CheckReferences());
    TRY(CheckBundles(kBundles, "SELECT ns, id FROM containers"));
    TRY(CheckBundles(kSandboxes, "SELECT ns, id FROM sandboxes"));
    if (trash_ != nullptr) trash_->WaitUntilEmpty();
    return std::move(report_);
  }

 private:
  // A fault that `act` repairs as `repair` says.
  template <typename Act>
  Result<> Repairable(std::string fault, std::string repair, Act act) {
    if (mode_ == FsckMode::kRepair) TRY_WITH(act(), "repairing {}", fault);
    report_.findings.push_back({std::move(fault), std::move(repair)});
    return {};
  }
  void Hopeless(std::string fault) { report_.findings.push_back({std::move(fault), ""}); }

  Result<> Nobodys(const std::string& path) {
    return Repairable(fmt::format("'{}': no record has it", path), "removed",
                      [&] { return trash_->Take(path); });
  }

  Result<> CheckDatabase() {
    auto tx = TRY(database_->Read());
    auto rows = TRY(tx.Query("PRAGMA integrity_check"));
    while (TRY(rows.Next())) {
      if (rows.Text(0) != "ok") Hopeless(fmt::format("meta.db: {}", rows.Text(0)));
    }
    return {};
  }

  Result<> CheckNames(const std::string& directory, const std::set<std::string>& known) {
    for (const std::string& name : TRY(NamesIn(directory))) {
      if (!known.contains(name)) TRY(Nobodys(directory + "/" + name));
    }
    return {};
  }

  Result<> CheckTop() {
    TRY(CheckNames(root_, {"meta.db", "meta.db-wal", "meta.db-shm", "lock", "content", "snapshots",
                           "trash", "events", kBundles, kSandboxes}));
    return CheckNames(root_ + "/content", {"blobs", "ingest"});
  }

  // Why the blob is not what its record says; nothing if it is.
  Result<std::optional<std::string>> FaultOf(const formats::Digest& digest, uint64_t size) {
    std::string path = root_ + "/content/blobs/" + std::string(digest.algorithm_name()) + "/" +
                       std::string(digest.hex());
    UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    if (!file.valid() && errno == ENOENT) return std::optional<std::string>("its file is missing");
    if (!file.valid()) return ErrnoError("opening '{}'", path);
    struct stat status;
    if (::fstat(file.get(), &status) != 0) return ErrnoError("looking at '{}'", path);
    report_.bytes += static_cast<uint64_t>(status.st_size);
    if (static_cast<uint64_t>(status.st_size) != size) {
      return std::optional(fmt::format("its file has {} bytes, not {}", status.st_size, size));
    }
    formats::Digest found = TRY_WITH(DigestOfFile(file, digest.algorithm()), "blob '{}'", path);
    if (found == digest) return std::optional<std::string>();
    return std::optional(fmt::format("its digest is {}", found.text()));
  }

  Result<std::map<std::string, uint64_t>> RecordedBlobs() {
    std::map<std::string, uint64_t> sizes;
    auto tx = TRY(database_->Read());
    auto rows = TRY(tx.Query("SELECT digest, size FROM content"));
    while (TRY(rows.Next())) sizes.emplace(rows.Text(0), static_cast<uint64_t>(rows.Int(1)));
    return sizes;
  }

  // The records go first: without them the file is nobody's.
  Result<> ForgetBlob(const std::string& digest, const std::string& path) {
    auto tx = TRY(database_->Begin());
    TRY(tx.Execute("DELETE FROM content WHERE digest = ?", digest));
    TRY(tx.Commit());
    return trash_->Take(path);
  }

  Result<> CheckContent() {
    std::map<std::string, std::set<std::string>> files;  // by algorithm
    std::string blobs = root_ + "/content/blobs";
    for (const std::string& algorithm : TRY(NamesIn(blobs))) {
      files[algorithm] = TRY(NamesIn(blobs + "/" + algorithm));
    }
    for (const auto& [text, size] : TRY(RecordedBlobs())) {
      auto digest = formats::Digest::Parse(text);
      if (!digest.ok()) {
        Hopeless(fmt::format("content record '{}': {}", text, digest.error().message()));
        continue;
      }
      ++report_.blobs;
      std::string algorithm(digest->algorithm_name());
      std::string hex(digest->hex());
      files[algorithm].erase(hex);
      std::optional<std::string> fault = TRY(FaultOf(*digest, size));
      if (!fault) continue;
      std::string path = blobs + "/" + algorithm + "/" + hex;
      TRY(Repairable(fmt::format("blob {}: {}", text, *fault), "forgotten; a pull brings it back",
                     [&, &name = text] { return ForgetBlob(name, path); }));
    }
    for (const auto& [algorithm, names] : files) {
      for (const std::string& name : names) TRY(Nobodys(blobs + "/" + algorithm + "/" + name));
    }
    return {};
  }

  // A write that can be resumed is called after its namespace and reference.
  Result<> CheckIngests() {
    auto store = TRY(content::BlobStore::Open(root_ + "/content"));
    std::set<std::string> known;
    for (const content::IngestStatus& ingest : TRY(store->Ingests(""))) {
      ++report_.ingests;
      known.insert(std::string(formats::Digest::Of(ingest.ns + "/" + ingest.ref).hex()));
    }
    return CheckNames(root_ + "/content/ingest", known);
  }

  Result<std::vector<SnapshotRow>> RecordedSnapshots() {
    std::vector<SnapshotRow> all;
    auto tx = TRY(database_->Read());
    auto rows = TRY(tx.Query("SELECT snapshotter, ns, key, parent, kind, number FROM snapshots"));
    while (TRY(rows.Next())) {
      all.push_back({rows.Text(0), rows.Text(1), rows.Text(2), rows.Text(3),
                     static_cast<snapshots::Kind>(rows.Int(4)),
                     static_cast<uint64_t>(rows.Int(5))});
    }
    return all;
  }

  Result<> ForgetSnapshot(const SnapshotRow& row) {
    auto tx = TRY(database_->Begin());
    TRY(tx.Execute("DELETE FROM snapshots WHERE snapshotter = ? AND ns = ? AND key = ?",
                   row.snapshotter, row.ns, row.key));
    TRY(tx.Commit());
    return trash_->Take(DirectoryOf(row));
  }

  std::string DirectoryOf(const SnapshotRow& row) const {
    return fmt::format("{}/snapshots/{}/{}", root_, row.snapshotter, row.number);
  }

  // Why a snapshot is not whole: its own directory, or one of its ancestors.
  std::string FaultOf(const SnapshotRow& row, const std::map<std::string, SnapshotRow>& known) {
    // A view may do without a directory of its own.
    if (row.kind != snapshots::Kind::kView && !PathExists(DirectoryOf(row))) {
      return "its directory is missing";
    }
    size_t steps = 0;
    for (const SnapshotRow* at = &row; !at->parent.empty(); ++steps) {
      auto parent = known.find(IdentityOf(*at, at->parent));
      if (parent == known.end()) return fmt::format("its ancestor '{}' is missing", at->parent);
      if (steps > known.size()) return "it is its own ancestor";
      at = &parent->second;
      if (!PathExists(DirectoryOf(*at))) {
        return fmt::format("the directory of its ancestor '{}' is missing", at->key);
      }
    }
    return "";
  }

  static std::string IdentityOf(const SnapshotRow& row, const std::string& key) {
    return row.snapshotter + '\0' + row.ns + '\0' + key;
  }

  Result<> CheckSnapshots() {
    std::map<std::string, SnapshotRow> known;
    std::map<std::string, std::set<std::string>> owned;  // directories, by snapshotter
    for (SnapshotRow& row : TRY(RecordedSnapshots())) {
      owned[row.snapshotter].insert(std::to_string(row.number));
      known.emplace(IdentityOf(row, row.key), std::move(row));
    }
    report_.snapshots = known.size();
    for (const auto& [identity, row] : known) {
      std::string fault = FaultOf(row, known);
      if (fault.empty()) continue;
      fault = fmt::format("snapshot '{}' ({}, namespace {}): {}", row.key, row.snapshotter, row.ns,
                          fault);
      // What a container has written is nowhere else.
      if (row.kind == snapshots::Kind::kActive && PathExists(DirectoryOf(row))) {
        Hopeless(std::move(fault));
        continue;
      }
      TRY(Repairable(std::move(fault), "forgotten; unpacking the image brings it back",
                     [&, &forgotten = row] { return ForgetSnapshot(forgotten); }));
    }
    for (const std::string& snapshotter : TRY(NamesIn(root_ + "/snapshots"))) {
      TRY(CheckNames(root_ + "/snapshots/" + snapshotter, owned[snapshotter]));
    }
    return {};
  }

  // What images and containers name. Layers and manifests of other platforms need not be there.
  Result<> CheckReferences() {
    auto tx = TRY(database_->Read());
    auto images = TRY(tx.Query("SELECT ns, name, record FROM images"));
    while (TRY(images.Next())) {
      images_api::Image image;
      std::string_view bytes = images.Bytes(2);
      std::string name = fmt::format("image '{}' (namespace {})", images.Text(1), images.Text(0));
      if (!image.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
        Hopeless(name + ": its record is damaged");
        continue;
      }
      auto found = GetContent(tx, images.Text(0), image.target().digest());
      if (!found.ok()) {
        Hopeless(fmt::format("{}: {}; pull it again", name, found.error().message()));
      }
    }
    auto containers =
        TRY(tx.Query("SELECT c.ns, c.id, c.snapshotter, c.snapshot_key FROM containers c "
                     "WHERE c.snapshot_key <> '' AND c.snapshotter IN "
                     "(SELECT DISTINCT snapshotter FROM snapshots) AND NOT EXISTS "
                     "(SELECT 1 FROM snapshots s WHERE s.snapshotter = c.snapshotter AND "
                     "s.ns = c.ns AND s.key = c.snapshot_key)"));
    while (TRY(containers.Next())) {
      Hopeless(fmt::format("container '{}' (namespace {}): its snapshot '{}' is missing",
                           containers.Text(1), containers.Text(0), containers.Text(3)));
    }
    return {};
  }

  // Containers of a daemon that is not running may run: their work directories stay.
  Result<> CheckBundles(const std::string& folder, std::string_view query) {
    std::set<std::pair<std::string, std::string>> known;
    {
      auto tx = TRY(database_->Read());
      auto rows = TRY(tx.Query(query));
      while (TRY(rows.Next())) known.emplace(rows.Text(0), rows.Text(1));
    }
    std::string top = root_ + "/" + folder;
    for (const std::string& ns : TRY(NamesIn(top))) {
      for (const std::string& id : TRY(NamesIn(top + "/" + ns))) {
        if (!known.contains({ns, id})) TRY(Nobodys(top + "/" + ns + "/" + id));
      }
    }
    return {};
  }

  const std::string root_;
  const FsckMode mode_;
  std::unique_ptr<Database> database_;
  std::unique_ptr<snapshots::Trash> trash_;  // when repairing
  FsckReport report_;
};

}  // namespace

Result<FsckReport> CheckStores(const std::string& root, FsckMode mode) {
  return TRY_WITH(Checker(root, mode).Run(), "checking '{}'", root);
}

}  // namespace gantry::containerd
