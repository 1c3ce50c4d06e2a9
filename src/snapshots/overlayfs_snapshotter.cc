// SPDX-License-Identifier: Apache-2.0
#include "snapshots/overlayfs_snapshotter.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "kernel/project_quota.h"
#include "kernel/spread.h"
#include "snapshots/directory_snapshotter.h"

namespace gantry::snapshots {
namespace {

class OverlayfsSnapshotter : public DirectorySnapshotter {
 public:
  OverlayfsSnapshotter(const std::string& root, SnapshotRecords* records, Trash* trash,
                       bool index_option, bool quotas)
      : DirectorySnapshotter(root, records, trash), index_option_(index_option), quotas_(quotas) {}

  std::string_view name() const override { return "overlayfs"; }
  bool HasQuotas() const override { return quotas_; }
  bool CanRebase() const override { return true; }

 protected:
  Result<> MakeDirectory(const NewDirectory& directory) override {
    const std::string& path = directory.path;
    if (::mkdir(path.c_str(), 0700) != 0) return ErrnoError("making '{}'", path);
    // Before there is anything in it: overlay moves files from one of its directories to the other,
    // so both belong to the project.
    if (directory.quota_bytes) TRY(kernel::LimitTree(path, *directory.quota_bytes));
    std::string files = path + "/fs";
    if (::mkdir(files.c_str(), 0755) != 0) return ErrnoError("making '{}'", files);
    if (!directory.ancestors.empty()) {
      TRY(CopyRootAttributes(Files(directory.ancestors.front()), files));
    }
    std::string work = path + "/work";
    if (directory.kind == Kind::kActive && ::mkdir(work.c_str(), 0711) != 0) {
      return ErrnoError("making '{}'", work);
    }
    return {};
  }

  std::vector<Mount> MountsOf(uint64_t number, Kind kind,
                              const std::vector<uint64_t>& ancestors) const override {
    // An overlay needs a lower layer; one directory alone is bound.
    if (ancestors.empty()) {
      return {{"bind", Files(number), "", {kind == Kind::kView ? "ro" : "rw", "rbind"}}};
    }
    if (kind == Kind::kView && ancestors.size() == 1) {
      return {{"bind", Files(ancestors[0]), "", {"ro", "rbind"}}};
    }
    std::vector<std::string> options;
    if (index_option_) options.push_back("index=off");
    if (kind == Kind::kActive) {
      options.push_back("workdir=" + Directory(number) + "/work");
      options.push_back("upperdir=" + Files(number));
    }
    std::string lower = "lowerdir=";
    for (size_t i = 0; i < ancestors.size(); ++i) {
      if (i > 0) lower.push_back(':');
      lower.append(Files(ancestors[i]));
    }
    options.push_back(std::move(lower));
    return {{"overlay", "overlay", "", std::move(options)}};
  }

  std::string Files(uint64_t number) const override { return Directory(number) + "/fs"; }

  Result<> Discard(const std::string& directory) override {
    if (quotas_) TRY(kernel::ForgetTreeLimit(directory));
    return DirectorySnapshotter::Discard(directory);
  }

 private:
  // The root of an overlay has the attributes of its upper directory.
  static Result<> CopyRootAttributes(const std::string& parent, const std::string& files) {
    struct stat status;
    if (::lstat(parent.c_str(), &status) != 0) return ErrnoError("reading '{}'", parent);
    if (::lchown(files.c_str(), status.st_uid, status.st_gid) != 0 ||
        ::chmod(files.c_str(), status.st_mode & 07777) != 0) {
      return ErrnoError("changing the owner and mode of '{}'", files);
    }
    return {};
  }

  const bool index_option_;
  const bool quotas_;
};

}  // namespace

Result<std::unique_ptr<Snapshotter>> MakeOverlayfsSnapshotter(const std::string& root,
                                                              SnapshotRecords* records,
                                                              Trash* trash) {
  TRY_WITH(MakeDirectories(root, 0700), "opening snapshotter overlayfs");
  TRY_WITH(kernel::SpreadSubdirectories(root), "opening snapshotter overlayfs");
  // Without index=off a kernel whose default is on refuses an upper directory that moved.
  bool index = PathExists("/sys/module/overlay/parameters/index");
  bool quotas = TRY(kernel::HasProjectQuotas(root));
  return std::unique_ptr<Snapshotter>(
      new OverlayfsSnapshotter(root, records, trash, index, quotas));
}

}  // namespace gantry::snapshots
