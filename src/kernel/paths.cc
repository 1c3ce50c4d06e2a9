// SPDX-License-Identifier: Apache-2.0
#include "kernel/paths.h"

#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <memory>
#include <vector>

#include "base/directory.h"
#include "base/io.h"
#include "base/text.h"

namespace gantry::kernel {
namespace {

// A directory being emptied, and its name in the directory before it on the stack.
struct Level {
  DirectoryHandle directory;
  std::string name;
};

Result<Level> OpenLevel(int parent, const std::string& name) {
  UniqueFd fd(::openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd.valid()) return ErrnoError("opening directory '{}'", name);
  DirectoryHandle directory(::fdopendir(fd.get()));
  if (!directory) return ErrnoError("opening directory '{}'", name);
  (void)fd.Release();  // the DIR owns it
  return Level{std::move(directory), name};
}

Result<> RemoveBelow(Level top, dev_t device) {
  std::vector<Level> stack;
  stack.push_back(std::move(top));
  while (!stack.empty()) {
    DIR* directory = stack.back().directory.get();
    int fd = ::dirfd(directory);
    errno = 0;
    const dirent* entry = ::readdir(directory);
    if (entry == nullptr) {
      if (errno != 0) return ErrnoError("listing directory '{}'", stack.back().name);
      std::string name = std::move(stack.back().name);
      stack.pop_back();
      if (stack.empty()) return {};
      int parent = ::dirfd(stack.back().directory.get());
      if (::unlinkat(parent, name.c_str(), AT_REMOVEDIR) != 0 && errno != ENOENT) {
        return ErrnoError("removing directory '{}'", name);
      }
      continue;
    }
    std::string name = entry->d_name;
    if (name == "." || name == "..") continue;
    if (entry->d_type != DT_DIR && entry->d_type != DT_UNKNOWN) {
      if (::unlinkat(fd, name.c_str(), 0) == 0 || errno == ENOENT) continue;
      if (errno != EISDIR) return ErrnoError("removing '{}'", name);
    }
    struct stat status;
    if (::fstatat(fd, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
      if (errno == ENOENT) continue;
      return ErrnoError("reading '{}'", name);
    }
    if (!S_ISDIR(status.st_mode)) {
      if (::unlinkat(fd, name.c_str(), 0) == 0 || errno == ENOENT) continue;
      return ErrnoError("removing '{}'", name);
    }
    if (status.st_dev != device) {
      return FailedPrecondition("removing directory '{}': something is mounted there", name);
    }
    // An empty directory needs no descriptor of its own.
    if (::unlinkat(fd, name.c_str(), AT_REMOVEDIR) == 0) continue;
    stack.push_back(TRY(OpenLevel(fd, name)));
  }
  return {};
}

}  // namespace

Result<UniqueFd> OpenRoot(const std::string& path) { return OpenFile(path, O_PATH | O_DIRECTORY); }

Result<UniqueFd> OpenIn(BorrowedFd root, std::string_view path, int flags, mode_t mode,
                        Links links) {
  std::string name(path.empty() ? std::string_view(".") : path);
  open_how how = {};
  how.flags = static_cast<uint64_t>(flags | O_CLOEXEC);
  if ((flags & (O_CREAT | __O_TMPFILE)) != 0) how.mode = mode;
  how.resolve = RESOLVE_NO_MAGICLINKS;
  how.resolve |= links == Links::kInRoot ? RESOLVE_IN_ROOT : RESOLVE_BENEATH;
  if (links == Links::kRefuse) how.resolve |= RESOLVE_NO_SYMLINKS;
  for (;;) {
    long fd = ::syscall(SYS_openat2, root.get(), name.c_str(), &how, sizeof how);
    if (fd >= 0) return UniqueFd(static_cast<int>(fd));
    // EAGAIN: a rename somewhere on the machine raced with a ".." of ours (openat2(2)).
    if (errno != EINTR && errno != EAGAIN) return ErrnoError("opening '{}'", name);
  }
}

Result<ParentAndName> OpenParentIn(BorrowedFd root, std::string_view path, Links links) {
  while (!path.empty() && path.back() == '/') path.remove_suffix(1);
  size_t slash = path.rfind('/');
  std::string_view name = slash == std::string_view::npos ? path : path.substr(slash + 1);
  std::string_view parent =
      slash == std::string_view::npos ? std::string_view() : path.substr(0, slash);
  if (name.empty() || name == "." || name == "..") {
    return InvalidArgument("resolving '{}': it names no entry of a directory", path);
  }
  UniqueFd fd = TRY(OpenIn(root, parent, O_PATH | O_DIRECTORY, 0, links));
  return ParentAndName{std::move(fd), std::string(name)};
}

Result<> RemoveTree(const std::string& path) {
  size_t slash = path.rfind('/');
  UniqueFd parent = TRY(OpenFile(path.substr(0, slash), O_RDONLY | O_DIRECTORY));
  return RemoveTreeAt(parent, path.substr(slash + 1));
}

Result<bool> MakeDirectoriesIn(BorrowedFd root, const std::string& path,
                               std::pair<uid_t, gid_t> owner) {
  bool made = false;
  std::string at;
  UniqueFd above = TRY(OpenIn(root, "", O_RDONLY | O_DIRECTORY));
  for (const std::string& part : SplitWords(path, "/")) {
    at += "/" + part;
    Result<UniqueFd> next = OpenIn(root, at, O_RDONLY | O_DIRECTORY);
    if (!next.ok() && next.error().error_number() == ENOENT) {
      if (::mkdirat(above.get(), part.c_str(), 0755) != 0) {
        return ErrnoError("making directory '{}'", at);
      }
      made = true;
      next = OpenIn(above, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, Links::kRefuse);
      if (next.ok() && ::fchown(next->get(), owner.first, owner.second) != 0) {
        return ErrnoError("changing the owner of '{}'", at);
      }
    }
    above = TRY_WITH(std::move(next), "making directory '{}'", at);
  }
  return made;
}

Result<> RemoveTreeAt(BorrowedFd parent, const std::string& name) {
  if (::unlinkat(parent.get(), name.c_str(), 0) == 0 || errno == ENOENT) return {};
  if (errno != EISDIR && errno != EPERM) return ErrnoError("removing '{}'", name);
  if (::unlinkat(parent.get(), name.c_str(), AT_REMOVEDIR) == 0 || errno == ENOENT) return {};
  if (errno != ENOTEMPTY && errno != EEXIST) return ErrnoError("removing directory '{}'", name);
  Level level = TRY(OpenLevel(parent.get(), name));
  struct stat status;
  if (::fstat(::dirfd(level.directory.get()), &status) != 0)
    return ErrnoError("reading '{}'", name);
  TRY(RemoveBelow(std::move(level), status.st_dev));
  if (::unlinkat(parent.get(), name.c_str(), AT_REMOVEDIR) != 0 && errno != ENOENT) {
    return ErrnoError("removing directory '{}'", name);
  }
  return {};
}

Result<> RemoveContents(BorrowedFd directory) {
  Level level = TRY(OpenLevel(directory.get(), "."));
  struct stat status;
  if (::fstat(::dirfd(level.directory.get()), &status) != 0)
    return ErrnoError("reading a directory");
  return RemoveBelow(std::move(level), status.st_dev);
}

}  // namespace gantry::kernel
