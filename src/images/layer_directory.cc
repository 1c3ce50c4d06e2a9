// SPDX-License-Identifier: Apache-2.0
#include "images/layer_directory.h"

#include <fcntl.h>
#include <linux/limits.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <deque>

#include "base/text.h"
#include "kernel/paths.h"

namespace gantry::images {
namespace {

constexpr size_t kMaxCachedParents = 128;
constexpr int kMaxLinks = 40;  // as the kernel's own limit

std::string Join(const std::vector<std::string>& parts) {
  std::string path;
  for (const std::string& part : parts) path += (path.empty() ? "" : "/") + part;
  return path;
}

void PushFront(std::deque<std::string>* pending, std::string_view path) {
  std::vector<std::string> parts;
  while (!path.empty()) {
    size_t slash = path.find('/');
    std::string_view part = path.substr(0, slash);
    if (!part.empty() && part != ".") parts.emplace_back(part);
    if (slash == std::string_view::npos) break;
    path.remove_prefix(slash + 1);
  }
  pending->insert(pending->begin(), parts.begin(), parts.end());
}

bool IsOpaque(BorrowedFd directory) {
  char value = 0;
  return ::fgetxattr(directory.get(), "trusted.overlay.opaque", &value, 1) == 1 && value == 'y';
}

Result<> CopyXattrs(BorrowedFd from, BorrowedFd to) {
  std::string names(XATTR_LIST_MAX, '\0');
  ssize_t size = ::flistxattr(from.get(), names.data(), names.size());
  if (size < 0 && errno == ENOTSUP) return {};
  if (size < 0) return ErrnoError("listing attributes");
  names.resize(static_cast<size_t>(size));
  std::map<std::string, std::string> xattrs;
  for (size_t begin = 0; begin < names.size();) {
    std::string name = names.c_str() + begin;
    begin += name.size() + 1;
    if (name.rfind("trusted.", 0) == 0) continue;
    std::string value(XATTR_SIZE_MAX, '\0');
    ssize_t length = ::fgetxattr(from.get(), name.c_str(), value.data(), value.size());
    if (length < 0) return ErrnoError("reading attribute '{}'", name);
    value.resize(static_cast<size_t>(length));
    xattrs[name] = std::move(value);
  }
  return SetXattrs(to, xattrs);
}

}  // namespace

Result<std::string> RealPath(BorrowedFd directory) {
  char path[PATH_MAX];
  ssize_t size =
      ::readlink(fmt::format("/proc/self/fd/{}", directory.get()).c_str(), path, sizeof path);
  if (size < 0) return ErrnoError("finding a directory's path");
  return std::string(path, static_cast<size_t>(size));
}

Result<LayerDirectory> LayerDirectory::Open(const std::string& root,
                                            const std::vector<std::string>& lowers) {
  LayerDirectory directory;
  directory.root_ = TRY(kernel::OpenRoot(root));
  for (const std::string& lower : lowers) {
    directory.lowers_.push_back(TRY(kernel::OpenRoot(lower)));
  }
  return directory;
}

Result<BorrowedFd> LayerDirectory::Parent(const std::string& name) {
  auto cached = cache_.find(name);
  if (cached != cache_.end()) return BorrowedFd(cached->second);
  constexpr int kFlags = O_RDONLY | O_DIRECTORY;
  auto fd = kernel::OpenIn(root_, name, kFlags);
  if (!fd.ok()) {
    if (fd.error().error_number() != ENOENT) return std::move(fd).error();
    fd = TRY(MakeParent(name));
  }
  if (cache_.size() >= kMaxCachedParents) cache_.clear();
  return BorrowedFd(cache_[name] = std::move(*fd));
}

// Walks part by part, because a link that this layer made may lead to a directory that only the
// layers below have: it is made where the link leads.
Result<UniqueFd> LayerDirectory::MakeParent(const std::string& name) {
  std::deque<std::string> pending;
  PushFront(&pending, name);
  std::vector<std::string> path;  // resolved: no links, no ".."
  int links = 0;
  while (!pending.empty()) {
    std::string part = std::move(pending.front());
    pending.pop_front();
    if (part == "..") {
      if (!path.empty()) path.pop_back();
      continue;
    }
    UniqueFd parent =
        TRY(kernel::OpenIn(root_, Join(path), O_RDONLY | O_DIRECTORY, 0, kernel::Links::kRefuse));
    struct stat status;
    if (::fstatat(parent.get(), part.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
      if (errno != ENOENT) return ErrnoError("reading '{}'", part);
      path.push_back(part);
      TRY(MakeDirectory(parent, part, path));
    } else if (S_ISLNK(status.st_mode)) {
      if (++links > kMaxLinks) return ErrnoErrorOf(ELOOP, fmt::format("resolving '{}'", name));
      char target[PATH_MAX];
      ssize_t size = ::readlinkat(parent.get(), part.c_str(), target, sizeof target);
      if (size < 0) return ErrnoError("reading link '{}'", part);
      std::string_view link(target, static_cast<size_t>(size));
      if (!link.empty() && link.front() == '/') path.clear();
      PushFront(&pending, link);
    } else if (S_ISDIR(status.st_mode)) {
      path.push_back(part);
    } else {
      return ErrnoErrorOf(ENOTDIR, fmt::format("resolving '{}'", name));
    }
  }
  return kernel::OpenIn(root_, Join(path), O_RDONLY | O_DIRECTORY, 0, kernel::Links::kRefuse);
}

Result<> LayerDirectory::MakeDirectory(BorrowedFd parent, const std::string& name,
                                       const std::vector<std::string>& path) {
  if (::mkdirat(parent.get(), name.c_str(), 0755) != 0) {
    return ErrnoError("making directory '{}'", Join(path));
  }
  UniqueFd made(
      ::openat(parent.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!made.valid()) return ErrnoError("opening directory '{}'", Join(path));
  unnamed_.insert(Join(path));
  UniqueFd lower = TRY(FindInLowers(path));
  if (!lower.valid()) {
    if (::fchmod(made.get(), 0755) != 0) return ErrnoError("changing mode of '{}'", Join(path));
    return {};
  }
  return CopyAttributes(lower, made, Join(path));
}

Result<> LayerDirectory::CopyAttributes(BorrowedFd lower, BorrowedFd made,
                                        const std::string& name) {
  struct stat status;
  if (::fstat(lower.get(), &status) != 0) return ErrnoError("reading lower '{}'", name);
  timespec times[2] = {status.st_atim, status.st_mtim};
  if (::fchown(made.get(), status.st_uid, status.st_gid) != 0 ||
      ::fchmod(made.get(), status.st_mode & 07777) != 0) {
    return ErrnoError("changing owner and mode of '{}'", name);
  }
  TRY_WITH(CopyXattrs(lower, made), "copying attributes of '{}'", name);
  if (::futimens(made.get(), times) != 0) return ErrnoError("setting times of '{}'", name);
  return {};
}

Result<> LayerDirectory::NoteNamed(BorrowedFd parent, const std::string& name) {
  if (unnamed_.empty()) return {};
  std::string root = TRY(RealPath(root_));
  std::string path = TRY(RealPath(parent)) + "/" + name;
  unnamed_.erase(path.substr(std::min(path.size(), root.size() + 1)));
  return {};
}

Result<> LayerDirectory::TakeAttributes(const std::vector<std::string>& unnamed) {
  if (lowers_.empty()) return {};
  // The root of an overlay has the owner and mode of its upper directory.
  struct stat status;
  if (::fstat(lowers_.front().get(), &status) != 0) return ErrnoError("reading the lower root");
  UniqueFd root(::openat(root_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!root.valid() || ::fchown(root.get(), status.st_uid, status.st_gid) != 0 ||
      ::fchmod(root.get(), status.st_mode & 07777) != 0) {
    return ErrnoError("changing owner and mode of the root");
  }
  for (const std::string& name : unnamed) {
    auto made = kernel::OpenIn(root_, name, O_RDONLY | O_DIRECTORY, 0, kernel::Links::kRefuse);
    if (!made.ok()) {
      int number = made.error().error_number();
      if (number == ENOENT || number == ENOTDIR || number == ELOOP) continue;
      return std::move(made).error();
    }
    std::vector<std::string> path = Split(name, '/');
    UniqueFd lower = TRY(FindInLowers(path));
    if (lower.valid()) {
      TRY(CopyAttributes(lower, *made, name));
      continue;
    }
    path.pop_back();
    bool below_unnamed = std::binary_search(unnamed.begin(), unnamed.end(), Join(path));
    if (path.empty() || below_unnamed) TRY(InheritGroup(*made, name));
  }
  return {};
}

// What mkdir(2) would have done, had the directory above had its attributes.
Result<> LayerDirectory::InheritGroup(BorrowedFd made, const std::string& name) {
  struct stat above;
  if (::fstatat(made.get(), "..", &above, 0) != 0) return ErrnoError("reading above '{}'", name);
  if ((above.st_mode & S_ISGID) == 0) return {};
  if (::fchown(made.get(), static_cast<uid_t>(-1), above.st_gid) != 0) {
    return ErrnoError("changing the group of '{}'", name);
  }
  return {};
}

Result<UniqueFd> LayerDirectory::FindInLowers(const std::vector<std::string>& path) {
  for (const UniqueFd& lower : lowers_) {
    BorrowedFd at = lower;
    UniqueFd opened;
    bool opaque = false;
    bool missing = false;
    for (const std::string& part : path) {
      UniqueFd next(
          ::openat(at.get(), part.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
      if (!next.valid()) {
        if (errno == ENOENT) {
          missing = true;
          break;
        }
        // A whiteout, file or link: what is below it is hidden.
        if (errno == ENOTDIR || errno == ELOOP) return UniqueFd();
        return ErrnoError("opening lower '{}'", Join(path));
      }
      opened = std::move(next);
      at = opened;
      opaque = opaque || IsOpaque(at);
    }
    if (!missing) return opened;
    if (opaque) return UniqueFd();
  }
  return UniqueFd();
}

}  // namespace gantry::images
