// SPDX-License-Identifier: Apache-2.0
#include "snapshots/native_snapshotter.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/io.h"
#include "kernel/copy_tree.h"
#include "snapshots/directory_snapshotter.h"

namespace gantry::snapshots {
namespace {

class NativeSnapshotter : public DirectorySnapshotter {
 public:
  using DirectorySnapshotter::DirectorySnapshotter;

  std::string_view name() const override { return "native"; }

 protected:
  Result<> MakeDirectory(const NewDirectory& directory) override {
    const auto& [path, kind, ancestors, quota_bytes] = directory;
    // A view shows its parent's own directory.
    if (kind == Kind::kView && !ancestors.empty()) return {};
    if (::mkdir(path.c_str(), 0755) != 0) return ErrnoError("making '{}'", path);
    if (ancestors.empty()) return {};
    UniqueFd from = TRY(OpenFile(Files(ancestors.front()), O_RDONLY | O_DIRECTORY));
    UniqueFd to = TRY(OpenFile(path, O_RDONLY | O_DIRECTORY));
    return kernel::CopyTree(from, to);
  }

  std::vector<Mount> MountsOf(uint64_t number, Kind kind,
                              const std::vector<uint64_t>& ancestors) const override {
    bool of_parent = kind == Kind::kView && !ancestors.empty();
    return {{"bind",
             Files(of_parent ? ancestors.front() : number),
             "",
             {"rbind", kind == Kind::kView ? "ro" : "rw"}}};
  }

  std::string Files(uint64_t number) const override { return Directory(number); }
};

}  // namespace

Result<std::unique_ptr<Snapshotter>> MakeNativeSnapshotter(const std::string& root,
                                                           SnapshotRecords* records, Trash* trash) {
  TRY_WITH(MakeDirectories(root, 0700), "opening snapshotter native");
  return std::unique_ptr<Snapshotter>(new NativeSnapshotter(root, records, trash));
}

}  // namespace gantry::snapshots
