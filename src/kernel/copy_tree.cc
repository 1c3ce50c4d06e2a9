// SPDX-License-Identifier: Apache-2.0
#include "kernel/copy_tree.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "base/directory.h"
#include "base/unique_fd.h"
#include "kernel/paths.h"

namespace gantry::kernel {
namespace {

class TreeCopier {
 public:
  TreeCopier(BorrowedFd root, const std::vector<UniqueFd>& layers) : root_(root), layers_(layers) {}

  // `path` is what the directory is called below the root: "" or "a/b/".
  Result<> CopyDirectory(BorrowedFd from, BorrowedFd to, const std::string& path) {
    UniqueFd listing_fd = UniqueFd(::openat(from.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!listing_fd.valid()) return ErrnoError("listing '{}'", path);
    DirectoryHandle listing(::fdopendir(listing_fd.get()));
    if (!listing) return ErrnoError("listing '{}'", path);
    (void)listing_fd.Release();
    for (;;) {
      errno = 0;
      const dirent* entry = ::readdir(listing.get());
      if (entry == nullptr && errno != 0) return ErrnoError("listing '{}'", path);
      if (entry == nullptr) break;
      std::string name = entry->d_name;
      if (name == "." || name == "..") continue;
      TRY_WITH(CopyEntry(from, to, name, path + name), "copying '{}{}'", path, name);
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
      if (!added) return Link(earlier->second, to, name);
    }
    if (S_ISDIR(status.st_mode)) {
      if (::mkdirat(to.get(), name.c_str(), 0700) != 0) return ErrnoError("making the directory");
      UniqueFd source = TRY(Open(from, name, O_RDONLY | O_DIRECTORY));
      UniqueFd target = TRY(Open(to, name, O_RDONLY | O_DIRECTORY));
      return CopyDirectory(source, target, path + "/");
    }
    if (S_ISREG(status.st_mode)) {
      UniqueFd source = TRY(Open(from, name, O_RDONLY));
      UniqueFd target(::openat(to.get(), name.c_str(),
                               O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
      if (!target.valid()) return ErrnoError("making the file");
      if (!SharesContents(source, target, path, status)) {
        TRY(CopyContents(source, target, status.st_size));
      }
      return CopyAttributes(source, target, status);
    }
    if (S_ISLNK(status.st_mode)) return CopySymlink(from, to, name, status);
    return CopySpecial(from, to, name, status);
  }

  Result<> Link(const std::string& earlier, BorrowedFd to, const std::string& name) {
    ParentAndName place = TRY(OpenParentIn(root_, earlier, Links::kRefuse));
    if (::linkat(place.parent.get(), place.name.c_str(), to.get(), name.c_str(), 0) != 0) {
      return ErrnoError("linking it to '{}'", earlier);
    }
    return {};
  }

  static Result<UniqueFd> Open(BorrowedFd directory, const std::string& name, int flags) {
    UniqueFd fd(::openat(directory.get(), name.c_str(), flags | O_NOFOLLOW | O_CLOEXEC));
    if (!fd.valid()) return ErrnoError("opening it");
    return fd;
  }

  // A reflink. overlayfs makes none to a file elsewhere, so the file that it shows is looked for:
  // it has the inode's number (kernel, Documentation/filesystems/overlayfs.rst, "Inode
  // properties").
  bool SharesContents(BorrowedFd from, BorrowedFd to, const std::string& path,
                      const struct stat& status) const {
    if (status.st_size == 0) return false;
    if (::ioctl(to.get(), FICLONE, from.get()) == 0) return true;
    if (errno != EXDEV) return false;
    for (const UniqueFd& layer : layers_) {
      auto shown = OpenIn(layer, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
      struct stat found;
      if (!shown.ok() || ::fstat(shown->get(), &found) != 0) continue;
      bool same = S_ISREG(found.st_mode) && found.st_ino == status.st_ino &&
                  found.st_size == status.st_size &&
                  found.st_mtim.tv_sec == status.st_mtim.tv_sec &&
                  found.st_mtim.tv_nsec == status.st_mtim.tv_nsec;
      if (same) return ::ioctl(to.get(), FICLONE, shown->get()) == 0;
    }
    return false;
  }

  static Result<> CopyContents(BorrowedFd from, BorrowedFd to, off_t size) {
    for (;;) {
      ssize_t count = ::copy_file_range(from.get(), nullptr, to.get(), nullptr, 1 << 30, 0);
      if (count == 0) return {};
      // Between file systems of different kinds.
      if (count < 0 && (errno == EXDEV || errno == EOPNOTSUPP || errno == EINVAL)) break;
      if (count < 0 && errno != EINTR) return ErrnoError("copying its contents");
    }
    return SendContents(from, to, size);
  }

  // What is data only: holes stay holes.
  static Result<> SendContents(BorrowedFd from, BorrowedFd to, off_t size) {
    if (::ftruncate(to.get(), size) != 0) return ErrnoError("making room for its contents");
    for (off_t end = 0; end < size;) {
      off_t at = ::lseek(from.get(), end, SEEK_DATA);
      if (at < 0 && errno == ENXIO) return {};
      end = at < 0 ? -1 : ::lseek(from.get(), at, SEEK_HOLE);
      if (end < 0 || ::lseek(to.get(), at, SEEK_SET) < 0) return ErrnoError("reading its contents");
      while (at < end) {
        ssize_t count = ::sendfile(to.get(), from.get(), &at, static_cast<size_t>(end - at));
        if (count < 0 && errno != EINTR) return ErrnoError("copying its contents");
        if (count == 0) break;  // it became shorter
      }
    }
    return {};
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
    if (::fchmodat(to.get(), name.c_str(), status.st_mode & 07777, AT_SYMLINK_NOFOLLOW) != 0) {
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
      // A volume's file system may know of no attributes.
      if (::fsetxattr(to.get(), name, value.data(), static_cast<size_t>(length), 0) != 0 &&
          errno != ENOTSUP) {
        return ErrnoError("setting attribute '{}'", name);
      }
    }
    return {};
  }

  const BorrowedFd root_;
  const std::vector<UniqueFd>& layers_;
  std::map<std::pair<dev_t, ino_t>, std::string> links_;
};

}  // namespace

Result<> CopyTree(BorrowedFd from, BorrowedFd to, const std::vector<UniqueFd>& layers) {
  return TreeCopier(to, layers).CopyDirectory(from, to, "");
}

}  // namespace gantry::kernel
