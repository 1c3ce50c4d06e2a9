// SPDX-License-Identifier: Apache-2.0
#include "runtime/child/copy_up.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <memory>
#include <string>

#include "base/directory.h"

namespace gantry::runtime::child {
namespace {

constexpr int kMaxDepth = 256;
constexpr size_t kMaxNames = size_t{64} << 10;
constexpr size_t kMaxChunk = size_t{1} << 30;

Result<> CopyDirectory(BorrowedFd from, BorrowedFd to, dev_t device, int depth);

Result<> CopyAttributes(BorrowedFd from, BorrowedFd to, const std::string& name) {
  std::string names(kMaxNames, '\0');
  ssize_t size = ::flistxattr(from.get(), names.data(), names.size());
  if (size < 0)
    return errno == EOPNOTSUPP ? Result<>() : ErrnoError("listing attributes of '{}'", name);
  std::string value(kMaxNames, '\0');
  for (const char* at = names.data(); at < names.data() + size;
       at += std::string_view(at).size() + 1) {
    ssize_t length = ::fgetxattr(from.get(), at, value.data(), value.size());
    if (length < 0) return ErrnoError("reading attribute '{}' of '{}'", at, name);
    // tmpfs has not all kinds of them.
    if (::fsetxattr(to.get(), at, value.data(), static_cast<size_t>(length), 0) < 0 &&
        errno != EOPNOTSUPP && errno != EPERM) {
      return ErrnoError("setting attribute '{}' of '{}'", at, name);
    }
  }
  return {};
}

// Owner first: changing it clears set-id bits and capabilities.
Result<> CopyMetadata(BorrowedFd from, BorrowedFd to, const struct stat& info,
                      const std::string& name) {
  if (::fchown(to.get(), info.st_uid, info.st_gid) < 0) return ErrnoError("owner of '{}'", name);
  if (::fchmod(to.get(), info.st_mode & 07777) < 0) return ErrnoError("mode of '{}'", name);
  TRY(CopyAttributes(from, to, name));
  timespec times[2] = {info.st_atim, info.st_mtim};
  if (::futimens(to.get(), times) < 0) return ErrnoError("times of '{}'", name);
  return {};
}

Result<> CopyFile(BorrowedFd from_directory, BorrowedFd to_directory, const std::string& name,
                  const struct stat& info) {
  UniqueFd from(::openat(from_directory.get(), name.c_str(),
                         O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  struct stat opened{};
  if (!from.valid() || ::fstat(from.get(), &opened) < 0) return ErrnoError("opening '{}'", name);
  if (!S_ISREG(opened.st_mode)) return FailedPrecondition("'{}' has changed", name);
  UniqueFd to(::openat(to_directory.get(), name.c_str(),
                       O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!to.valid()) return ErrnoError("making '{}'", name);
  for (;;) {
    ssize_t sent = ::sendfile(to.get(), from.get(), nullptr, kMaxChunk);
    if (sent < 0) return ErrnoError("copying '{}'", name);
    if (sent == 0) break;
  }
  return CopyMetadata(from, to, info, name);
}

Result<> CopyLink(BorrowedFd from, BorrowedFd to, const std::string& name,
                  const struct stat& info) {
  char target[PATH_MAX];
  ssize_t size = ::readlinkat(from.get(), name.c_str(), target, sizeof target - 1);
  if (size < 0) return ErrnoError("reading link '{}'", name);
  target[size] = '\0';
  if (::symlinkat(target, to.get(), name.c_str()) < 0) return ErrnoError("making link '{}'", name);
  if (::fchownat(to.get(), name.c_str(), info.st_uid, info.st_gid, AT_SYMLINK_NOFOLLOW) < 0) {
    return ErrnoError("owner of link '{}'", name);
  }
  return {};
}

Result<> CopySubdirectory(BorrowedFd from, BorrowedFd to, const std::string& name,
                          const struct stat& info, int depth) {
  UniqueFd source(
      ::openat(from.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!source.valid()) return ErrnoError("opening '{}'", name);
  if (::mkdirat(to.get(), name.c_str(), 0700) < 0) return ErrnoError("making '{}'", name);
  UniqueFd target(
      ::openat(to.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!target.valid()) return ErrnoError("opening the new '{}'", name);
  TRY_WITH(CopyDirectory(source, target, info.st_dev, depth + 1), "'{}'", name);
  return CopyMetadata(source, target, info, name);
}

Result<> CopyNode(BorrowedFd to, const std::string& name, const struct stat& info) {
  if (::mknodat(to.get(), name.c_str(), info.st_mode, info.st_rdev) < 0 ||
      ::fchownat(to.get(), name.c_str(), info.st_uid, info.st_gid, AT_SYMLINK_NOFOLLOW) < 0) {
    return ErrnoError("making node '{}'", name);
  }
  return {};
}

Result<> CopyEntry(BorrowedFd from, BorrowedFd to, const std::string& name, dev_t device,
                   int depth) {
  struct stat info{};
  if (::fstatat(from.get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) < 0) {
    return ErrnoError("looking at '{}'", name);
  }
  if (info.st_dev != device) return {};
  switch (info.st_mode & S_IFMT) {
    case S_IFREG:
      return CopyFile(from, to, name, info);
    case S_IFDIR:
      return CopySubdirectory(from, to, name, info, depth);
    case S_IFLNK:
      return CopyLink(from, to, name, info);
    case S_IFSOCK:
      return {};
    default:
      return CopyNode(to, name, info);
  }
}

// `from` is readable; it is read by a descriptor of its own.
Result<> CopyDirectory(BorrowedFd from, BorrowedFd to, dev_t device, int depth) {
  if (depth > kMaxDepth) return FailedPrecondition("more than {} directories deep", kMaxDepth);
  UniqueFd again(::openat(from.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!again.valid()) return ErrnoError("opening a directory");
  DirectoryHandle stream(::fdopendir(again.get()));
  if (stream == nullptr) return ErrnoError("reading a directory");
  (void)again.Release();
  for (;;) {
    errno = 0;
    dirent* entry = ::readdir(stream.get());
    if (entry == nullptr) break;
    std::string name = entry->d_name;
    if (name != "." && name != "..") TRY(CopyEntry(from, to, name, device, depth));
  }
  if (errno != 0) return ErrnoError("reading a directory");
  return {};
}

}  // namespace

Result<> CopyUp(BorrowedFd from, BorrowedFd to) {
  UniqueFd source(::openat(from.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  struct stat info{};
  if (!source.valid() || ::fstat(source.get(), &info) < 0) return ErrnoError("opening a directory");
  TRY(CopyDirectory(source, to, info.st_dev, 0));
  if (::fchown(to.get(), info.st_uid, info.st_gid) < 0) return ErrnoError("owner of the mount");
  return {};
}

}  // namespace gantry::runtime::child
