// SPDX-License-Identifier: Apache-2.0
#include "kernel/btrfs.h"

#include <fcntl.h>
#include <linux/btrfs.h>
#include <linux/btrfs_tree.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "base/directory.h"
#include "base/io.h"

namespace gantry::kernel {
namespace {

struct Place {
  UniqueFd parent;
  std::string name;
};

Result<Place> OpenPlace(const std::string& path) {
  size_t slash = path.rfind('/');
  CHECK(slash != std::string::npos);
  Place place{TRY(OpenFile(path.substr(0, slash), O_RDONLY | O_DIRECTORY)), path.substr(slash + 1)};
  if (place.name.empty() || place.name.size() > BTRFS_SUBVOL_NAME_MAX) {
    return InvalidArgument("'{}' is no name of a subvolume", path);
  }
  return place;
}

// The root of every subvolume has this inode number, and nothing else has it.
constexpr ino_t kSubvolumeInode = BTRFS_FIRST_FREE_OBJECTID;
constexpr int kMaxDepth = 256;

Result<> DeleteAt(BorrowedFd parent, const std::string& name, int depth);

// Subvolumes below `directory`, found without following a link.
Result<> DeleteBelow(BorrowedFd directory, int depth) {
  if (depth > kMaxDepth) return MakeError(ErrorKind::kResourceExhausted, "too many levels");
  UniqueFd own(::openat(directory.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!own.valid()) return ErrnoError("listing a directory");
  DirectoryHandle listing(::fdopendir(own.get()));
  if (!listing) return ErrnoError("listing a directory");
  (void)own.Release();
  while (const dirent* entry = ::readdir(listing.get())) {
    std::string name = entry->d_name;
    if (name == "." || name == ".." || entry->d_type != DT_DIR) continue;
    UniqueFd inner(
        ::openat(directory.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    struct stat status;
    if (!inner.valid() || ::fstat(inner.get(), &status) != 0)
      return ErrnoError("opening '{}'", name);
    if (status.st_ino == kSubvolumeInode) {
      inner.Reset();
      TRY(DeleteAt(directory, name, depth + 1));
    } else {
      TRY(DeleteBelow(inner, depth + 1));
    }
  }
  return {};
}

Result<> DeleteAt(BorrowedFd parent, const std::string& name, int depth) {
  // The first version of the call: 5.7 and later have another, which takes ids as well.
  btrfs_ioctl_vol_args args = {};
  std::memcpy(args.name, name.c_str(), std::min<size_t>(name.size(), BTRFS_SUBVOL_NAME_MAX));
  if (::ioctl(parent.get(), BTRFS_IOC_SNAP_DESTROY, &args) == 0) return {};
  if (errno != ENOTEMPTY) return ErrnoError("'{}'", name);
  // Other subvolumes are in it, which a container made.
  UniqueFd directory(
      ::openat(parent.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!directory.valid()) return ErrnoError("opening '{}'", name);
  TRY(DeleteBelow(directory, depth));
  directory.Reset();
  if (::ioctl(parent.get(), BTRFS_IOC_SNAP_DESTROY, &args) == 0) return {};
  return ErrnoError("'{}'", name);
}

}  // namespace

Result<bool> IsBtrfs(const std::string& path) {
  struct statfs status;
  if (::statfs(path.c_str(), &status) != 0) return ErrnoError("reading '{}'", path);
  return status.f_type == BTRFS_SUPER_MAGIC;
}

Result<> CreateSubvolume(const std::string& path) {
  Place place = TRY_WITH(OpenPlace(path), "creating subvolume '{}'", path);
  btrfs_ioctl_vol_args_v2 args = {};
  std::memcpy(args.name, place.name.c_str(), place.name.size());
  if (::ioctl(place.parent.get(), BTRFS_IOC_SUBVOL_CREATE_V2, &args) != 0) {
    return ErrnoError("creating subvolume '{}'", path);
  }
  return {};
}

Result<> SnapshotSubvolume(const std::string& source, const std::string& path,
                           SubvolumeAccess access) {
  Place place = TRY_WITH(OpenPlace(path), "creating subvolume '{}'", path);
  UniqueFd from = TRY(OpenFile(source, O_RDONLY | O_DIRECTORY));
  btrfs_ioctl_vol_args_v2 args = {};
  args.fd = from.get();
  if (access == SubvolumeAccess::kReadOnly) args.flags = BTRFS_SUBVOL_RDONLY;
  std::memcpy(args.name, place.name.c_str(), place.name.size());
  if (::ioctl(place.parent.get(), BTRFS_IOC_SNAP_CREATE_V2, &args) != 0) {
    return ErrnoError("copying subvolume '{}' to '{}'", source, path);
  }
  return {};
}

Result<> DeleteSubvolume(const std::string& path) {
  Place place = TRY_WITH(OpenPlace(path), "deleting subvolume '{}'", path);
  TRY_WITH(DeleteAt(place.parent, place.name, 0), "deleting subvolume '{}'", path);
  return {};
}

Result<> LimitSubvolume(const std::string& path, uint64_t bytes) {
  UniqueFd subvolume = TRY(OpenFile(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  btrfs_ioctl_quota_ctl_args enable = {};
  enable.cmd = BTRFS_QUOTA_CTL_ENABLE;
  // Counting is on already: 0 too, or EEXIST.
  if (::ioctl(subvolume.get(), BTRFS_IOC_QUOTA_CTL, &enable) != 0 && errno != EEXIST) {
    return ErrnoError("limiting subvolume '{}': counting what subvolumes take", path);
  }
  btrfs_ioctl_qgroup_limit_args limit = {};  // qgroupid 0: the subvolume's own
  limit.lim.flags = BTRFS_QGROUP_LIMIT_MAX_EXCL;
  limit.lim.max_excl = bytes;
  if (::ioctl(subvolume.get(), BTRFS_IOC_QGROUP_LIMIT, &limit) != 0) {
    return ErrnoError("limiting subvolume '{}' to {} bytes", path, bytes);
  }
  return {};
}

}  // namespace gantry::kernel
