// SPDX-License-Identifier: Apache-2.0
#include "snapshots/copy_tree.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "base/directory.h"
#include "base/io.h"
#include "base/unique_fd.h"

namespace gantry::snapshots {
namespace {

class TreeCopier {
 public:
  explicit TreeCopier(std::string to) : to_(std::move(to)) {}

  // `path` is what the directory is called below the root: "" or "/a/b".
  Result<> CopyDirectory(BorrowedFd from, BorrowedFd to, const std::string& path) {
    UniqueFd listing_fd = UniqueFd(::openat(from.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!listing_fd.valid()) return ErrnoError("listing '{}'", path);
    DirectoryHandle listing(::fdopendir(listing_fd.get()));
    if (!listing) return ErrnoError("listing '{}'", path);
    (void)listing_fd.Release();
    while (const dirent* entry = ::readdir(listing.get())) {
      std::string name = entry->d_name;
      if (name == "." || name == "..") continue;
      TRY_WITH(CopyEntry(from, to, name, path + "/" + name), "copying '{}/{}'", path, name);
    }
    struct stat status;
    if (::fstat(from.get(), &status) != 0) return ErrnoError("reading '{}'", path);
    return CopyAttributes(from, to, status);
  }

 private:
  Result<> CopyEntry(BorrowedFd from, BorrowedFd to, const std::string& name,
                     const std::string& path) {
    struct stat status;
    if (::fstatat(from.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
      return ErrnoError("reading it");
    }
    if (!S_ISDIR(status.st_mode) && status.st_nlink > 1) {
      auto [earlier, added] = links_.emplace(std::pair(status.st_dev, status.st_ino), path);
      if (!added) {
        if (::linkat(AT_FDCWD, (to_ + earlier->second).c_str(), to.get(), name.c_str(), 0) != 0) {
          return ErrnoError("linking it to '{}'", earlier->second);
        }
        return {};
      }
    }
    if (S_ISDIR(status.st_mode)) {
      if (::mkdirat(to.get(), name.c_str(), 0700) != 0) return ErrnoError("making the directory");
      UniqueFd source = TRY(Open(from, name, O_RDONLY | O_DIRECTORY));
      UniqueFd target = TRY(Open(to, name, O_RDONLY | O_DIRECTORY));
      return CopyDirectory(source, target, path);
    }
    if (S_ISREG(status.st_mode)) {
      UniqueFd source = TRY(Open(from, name, O_RDONLY));
      UniqueFd target(::openat(to.get(), name.c_str(),
                               O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
      if (!target.valid()) return ErrnoError("making the file");
      TRY(CopyContents(source, target));
      return CopyAttributes(source, target, status);
    }
    if (S_ISLNK(status.st_mode)) return CopySymlink(from, to, name, status);
    return CopySpecial(from, to, name, status);
  }

  static Result<UniqueFd> Open(BorrowedFd directory, const std::string& name, int flags) {
    UniqueFd fd(::openat(directory.get(), name.c_str(), flags | O_NOFOLLOW | O_CLOEXEC));
    if (!fd.valid()) return ErrnoError("opening it");
    return fd;
  }

  static Result<> CopyContents(BorrowedFd from, BorrowedFd to) {
    if (::ioctl(to.get(), FICLONE, from.get()) == 0) return {};
    for (;;) {
      ssize_t count = ::copy_file_range(from.get(), nullptr, to.get(), nullptr, 1 << 30, 0);
      if (count == 0) return {};
      if (count < 0 && errno != EINTR) return ErrnoError("copying its contents");
    }
  }

  static Result<> CopySymlink(BorrowedFd from, BorrowedFd to, const std::string& name,
                              const struct stat& status) {
    std::string target(static_cast<size_t>(status.st_size) + 1, '\0');
    ssize_t size = ::readlinkat(from.get(), name.c_str(), target.data(), target.size());
    if (size < 0 || static_cast<size_t>(size) >= target.size())
      return ErrnoError("reading the link");
    target.resize(static_cast<size_t>(size));
    if (::symlinkat(target.c_str(), to.get(), name.c_str()) != 0) {
      return ErrnoError("making the link");
    }
    return SetOwnerAndTimes(to, name, status);
  }

  static Result<> CopySpecial(BorrowedFd, BorrowedFd to, const std::string& name,
                              const struct stat& status) {
    if (::mknodat(to.get(), name.c_str(), status.st_mode, status.st_rdev) != 0) {
      return ErrnoError("making the device or pipe");
    }
    TRY(SetOwnerAndTimes(to, name, status));
    // After chown, which clears setuid, and against the umask.
    if (::fchmodat(to.get(), name.c_str(), status.st_mode & 07777, 0) != 0) {
      return ErrnoError("setting its mode");
    }
    return {};
  }

  static Result<> SetOwnerAndTimes(BorrowedFd directory, const std::string& name,
                                   const struct stat& status) {
    if (::fchownat(directory.get(), name.c_str(), status.st_uid, status.st_gid,
                   AT_SYMLINK_NOFOLLOW) != 0) {
      return ErrnoError("setting its owner");
    }
    timespec times[2] = {status.st_atim, status.st_mtim};
    if (::utimensat(directory.get(), name.c_str(), times, AT_SYMLINK_NOFOLLOW) != 0) {
      return ErrnoError("setting its times");
    }
    return {};
  }

  static Result<> CopyAttributes(BorrowedFd from, BorrowedFd to, const struct stat& status) {
    if (::fchown(to.get(), status.st_uid, status.st_gid) != 0)
      return ErrnoError("setting its owner");
    if (::fchmod(to.get(), status.st_mode & 07777) != 0) return ErrnoError("setting its mode");
    TRY(CopyXattrs(from, to));
    timespec times[2] = {status.st_atim, status.st_mtim};
    if (::futimens(to.get(), times) != 0) return ErrnoError("setting its times");
    return {};
  }

  static Result<> CopyXattrs(BorrowedFd from, BorrowedFd to) {
    ssize_t size = ::flistxattr(from.get(), nullptr, 0);
    if (size == 0 || (size < 0 && errno == ENOTSUP)) return {};
    if (size < 0) return ErrnoError("listing its attributes");
    std::string names(static_cast<size_t>(size), '\0');
    size = ::flistxattr(from.get(), names.data(), names.size());
    if (size < 0) return ErrnoError("listing its attributes");
    names.resize(static_cast<size_t>(size));
    for (size_t begin = 0; begin < names.size();) {
      const char* name = names.c_str() + begin;
      begin += std::string_view(name).size() + 1;
      std::string value(XATTR_SIZE_MAX, '\0');
      ssize_t length = ::fgetxattr(from.get(), name, value.data(), value.size());
      if (length < 0) return ErrnoError("reading attribute '{}'", name);
      if (::fsetxattr(to.get(), name, value.data(), static_cast<size_t>(length), 0) != 0) {
        return ErrnoError("setting attribute '{}'", name);
      }
    }
    return {};
  }

  const std::string to_;
  std::map<std::pair<dev_t, ino_t>, std::string> links_;
};

}  // namespace

Result<> CopyTree(const std::string& from, const std::string& to) {
  UniqueFd source = TRY(OpenFile(from, O_RDONLY | O_DIRECTORY));
  UniqueFd target = TRY(OpenFile(to, O_RDONLY | O_DIRECTORY));
  return TreeCopier(to).CopyDirectory(source, target, "");
}

}  // namespace gantry::snapshots
