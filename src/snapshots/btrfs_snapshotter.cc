// SPDX-License-Identifier: Apache-2.0
#include "snapshots/btrfs_snapshotter.h"

#include <sys/stat.h>

#include "base/io.h"
#include "kernel/btrfs.h"
#include "snapshots/directory_snapshotter.h"

namespace gantry::snapshots {
namespace {

class BtrfsSnapshotter : public DirectorySnapshotter {
 public:
  using DirectorySnapshotter::DirectorySnapshotter;

  std::string_view name() const override { return "btrfs"; }
  bool HasQuotas() const override { return true; }

 protected:
  Result<> MakeDirectory(const NewDirectory& directory) override {
    TRY(MakeSubvolume(directory));
    if (directory.quota_bytes) {
      TRY(kernel::LimitSubvolume(directory.path, *directory.quota_bytes));
    }
    return {};
  }

  std::vector<Mount> MountsOf(uint64_t number, Kind kind,
                              const std::vector<uint64_t>& /*ancestors*/) const override {
    return {{"bind", Files(number), "", {"rbind", kind == Kind::kView ? "ro" : "rw"}}};
  }

  std::string Files(uint64_t number) const override { return Directory(number); }

  // At once, however much is in it. What is no subvolume after all goes file by file.
  Result<> Discard(const std::string& directory) override {
    auto deleted = kernel::DeleteSubvolume(directory);
    if (deleted.ok() || deleted.error().error_number() == ENOENT) return {};
    return DirectorySnapshotter::Discard(directory);
  }

 private:
  Result<> MakeSubvolume(const NewDirectory& directory) const {
    if (!directory.ancestors.empty()) {
      auto access = directory.kind == Kind::kView ? kernel::SubvolumeAccess::kReadOnly
                                                  : kernel::SubvolumeAccess::kReadWrite;
      return kernel::SnapshotSubvolume(Files(directory.ancestors.front()), directory.path, access);
    }
    TRY(kernel::CreateSubvolume(directory.path));
    if (::chmod(directory.path.c_str(), 0755) != 0) {
      return ErrnoError("changing '{}'", directory.path);
    }
    return {};
  }
};

}  // namespace

Result<std::unique_ptr<Snapshotter>> MakeBtrfsSnapshotter(const std::string& root,
                                                          SnapshotRecords* records, Trash* trash) {
  TRY_WITH(MakeDirectories(root, 0700), "opening snapshotter btrfs");
  if (!TRY(kernel::IsBtrfs(root))) {
    return FailedPrecondition("opening snapshotter btrfs: '{}' is not on btrfs", root);
  }
  return std::unique_ptr<Snapshotter>(new BtrfsSnapshotter(root, records, trash));
}

}  // namespace gantry::snapshots
