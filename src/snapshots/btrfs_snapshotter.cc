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

 protected:
  Result<> MakeDirectory(const std::string& directory, Kind kind,
                         const std::vector<uint64_t>& ancestors) override {
    if (!ancestors.empty()) {
      return kernel::SnapshotSubvolume(Files(ancestors.front()), directory,
                                       kind == Kind::kView ? kernel::SubvolumeAccess::kReadOnly
                                                           : kernel::SubvolumeAccess::kReadWrite);
    }
    TRY(kernel::CreateSubvolume(directory));
    if (::chmod(directory.c_str(), 0755) != 0) return ErrnoError("changing '{}'", directory);
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
