// SPDX-License-Identifier: Apache-2.0
#include "trees/entry_maker.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "base/io.h"
#include "base/text.h"

namespace gantry::trees {

using formats::TarEntry;
using formats::TarType;

std::string CleanName(std::string_view name) {
  std::vector<std::string> parts;
  for (std::string& part : SplitWords(name, "/")) {
    if (part == ".") continue;
    if (part != "..") {
      parts.push_back(std::move(part));
    } else if (!parts.empty()) {
      parts.pop_back();
    }
  }
  std::string clean;
  for (const std::string& part : parts) clean += (clean.empty() ? "" : "/") + part;
  return clean;
}

Result<> SetXattrs(BorrowedFd file, const std::map<std::string, std::string>& xattrs) {
  for (const auto& [name, value] : xattrs) {
    if (name.starts_with("trusted.overlay.")) continue;
    // Through /proc, so that O_PATH descriptors of links and devices can be used.
    std::string path = fmt::format("/proc/self/fd/{}", file.get());
    if (::setxattr(path.c_str(), name.c_str(), value.data(), value.size(), 0) == 0) continue;
    if (errno == ENOTSUP) continue;
    // Only files and directories have user attributes (xattr(7)).
    if (errno == EPERM && name.starts_with("user.")) continue;
    return ErrnoError("setting attribute '{}'", name);
  }
  return {};
}

timespec TimeOf(const TarEntry& entry) {
  if (entry.mtime_seconds < 0) return {0, 0};
  return {entry.mtime_seconds, static_cast<long>(entry.mtime_nanos)};
}

Result<> EntryMaker::Make(formats::TarReader& tar, BorrowedFd parent, const std::string& name,
                          const TarEntry& entry) {
  if (options_.keeps_kinds) TRY(CheckKind(parent, name, entry));
  switch (entry.type) {
    case TarType::kFile:
      return MakeRegular(tar, parent, name, entry);
    case TarType::kDirectory:
      return MakeDirectory(parent, name, entry);
    case TarType::kSymlink:
      TRY(MakeRoomAndRetry(parent, name, [&] {
        return ::symlinkat(entry.link_name.c_str(), parent.get(), name.c_str());
      }));
      return SetAttributes(parent, name, entry);
    case TarType::kHardLink:
      return MakeHardLink(parent, name, entry);
    case TarType::kCharDevice:
    case TarType::kBlockDevice:
    case TarType::kFifo:
      return MakeSpecial(parent, name, entry);
    case TarType::kUnknown:
      break;
  }
  return InvalidArgument("an entry of a type that is not supported");
}

Result<> EntryMaker::CheckKind(BorrowedFd parent, const std::string& name, const TarEntry& entry) {
  struct stat status;
  if (::fstatat(parent.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) return {};
  bool wants_directory = entry.type == TarType::kDirectory;
  if (S_ISDIR(status.st_mode) && !wants_directory) {
    return InvalidArgument("cannot overwrite directory \"{0}\" with non-directory \"{0}\"", name);
  }
  if (!S_ISDIR(status.st_mode) && wants_directory) {
    return InvalidArgument("cannot overwrite non-directory \"{0}\" with directory \"{0}\"", name);
  }
  return {};
}

Result<> EntryMaker::MakeRegular(formats::TarReader& tar, BorrowedFd parent,
                                 const std::string& name, const TarEntry& entry) {
  UniqueFd file;
  TRY(MakeRoomAndRetry(parent, name, [&] {
    file.Reset(::openat(parent.get(), name.c_str(),
                        O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    return file.get();
  }));
  for (;;) {
    std::string_view data = TRY(tar.NextData());
    if (data.empty()) break;
    TRY(WriteAll(file, data));
  }
  return SetAttributesOf(file, entry, Times::kNow);
}

Result<> EntryMaker::MakeDirectory(BorrowedFd parent, const std::string& name,
                                   const TarEntry& entry) {
  if (::mkdirat(parent.get(), name.c_str(), 0700) != 0) {
    if (errno != EEXIST) return ErrnoError("making it");
    struct stat status;
    if (::fstatat(parent.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
      return ErrnoError("reading it");
    }
    // A directory that is there is merged with.
    if (!S_ISDIR(status.st_mode)) {
      TRY(MakeRoomAndRetry(parent, name,
                           [&] { return ::mkdirat(parent.get(), name.c_str(), 0700); }));
    }
  }
  UniqueFd made(
      ::openat(parent.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!made.valid()) return ErrnoError("opening it");
  return SetAttributesOf(made, entry, Times::kLater);
}

Result<> EntryMaker::MakeHardLink(BorrowedFd parent, const std::string& name,
                                  const TarEntry& entry) {
  std::string target = CleanName(entry.link_name);
  if (target.empty()) return InvalidArgument("a hard link to '{}'", entry.link_name);
  if (!options_.base.empty()) target = options_.base + "/" + target;
  kernel::ParentAndName from = TRY_WITH(kernel::OpenParentIn(options_.root, target, options_.links),
                                        "linking to '{}'", entry.link_name);
  struct stat status;
  struct stat existing;
  if (::fstatat(from.parent.get(), from.name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
    return ErrnoError("linking to '{}'", entry.link_name);
  }
  if (S_ISDIR(status.st_mode)) return InvalidArgument("a hard link to a directory");
  // A link to itself must not be removed to make room for it.
  bool same = ::fstatat(parent.get(), name.c_str(), &existing, AT_SYMLINK_NOFOLLOW) == 0 &&
              existing.st_ino == status.st_ino && existing.st_dev == status.st_dev;
  if (!same) {
    TRY(MakeRoomAndRetry(parent, name, [&] {
      return ::linkat(from.parent.get(), from.name.c_str(), parent.get(), name.c_str(), 0);
    }));
  }
  return SetAttributes(parent, name, entry);
}

Result<> EntryMaker::MakeSpecial(BorrowedFd parent, const std::string& name,
                                 const TarEntry& entry) {
  mode_t kind = entry.type == TarType::kFifo         ? S_IFIFO
                : entry.type == TarType::kCharDevice ? S_IFCHR
                                                     : S_IFBLK;
  TRY(MakeRoomAndRetry(parent, name, [&] {
    return ::mknodat(parent.get(), name.c_str(), kind | 0600,
                     makedev(entry.device_major, entry.device_minor));
  }));
  return SetAttributes(parent, name, entry);
}

// Owner first: changing it clears setuid bits and capabilities. `file` may be O_PATH.
Result<> EntryMaker::SetOwnerAndXattrs(BorrowedFd file, const TarEntry& entry) const {
  std::map<std::string, std::string> xattrs = entry.xattrs;
  if (options_.owners == Owners::kOfCaller) {
    std::erase_if(xattrs, [](const auto& xattr) { return !xattr.first.starts_with("user."); });
  } else {
    auto [uid, gid] = options_.owner.value_or(std::pair(uid_t{entry.uid}, gid_t{entry.gid}));
    if (options_.map_owner) std::tie(uid, gid) = TRY(options_.map_owner(uid, gid));
    if (::fchownat(file.get(), "", uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) != 0) {
      return ErrnoError("changing its owner");
    }
  }
  if (xattrs.empty()) return {};
  return SetXattrs(file, xattrs);
}

mode_t EntryMaker::ModeOf(const TarEntry& entry) const {
  if (!options_.mode) return entry.mode;
  return options_.mode->Apply(entry.mode, entry.type == TarType::kDirectory);
}

Result<> EntryMaker::SetAttributesOf(BorrowedFd file, const TarEntry& entry, Times when) const {
  TRY(SetOwnerAndXattrs(file, entry));
  if (::fchmod(file.get(), ModeOf(entry)) != 0) return ErrnoError("changing its mode");
  if (when == Times::kLater) return {};
  timespec times[2] = {TimeFor(entry), TimeFor(entry)};
  if (::futimens(file.get(), times) != 0) return ErrnoError("setting its times");
  return {};
}

// The same for what is not opened: links, devices, pipes.
Result<> EntryMaker::SetAttributes(BorrowedFd parent, const std::string& name,
                                   const TarEntry& entry) const {
  UniqueFd file(::openat(parent.get(), name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  struct stat status;
  if (!file.valid() || ::fstat(file.get(), &status) != 0) return ErrnoError("opening it");
  TRY(SetOwnerAndXattrs(file, entry));
  if (!S_ISLNK(status.st_mode)) {
    std::string path = fmt::format("/proc/self/fd/{}", file.get());
    if (::chmod(path.c_str(), ModeOf(entry)) != 0) {
      return ErrnoError("changing its mode");
    }
  }
  timespec times[2] = {TimeFor(entry), TimeFor(entry)};
  if (::utimensat(parent.get(), name.c_str(), times, AT_SYMLINK_NOFOLLOW) != 0) {
    return ErrnoError("setting its times");
  }
  return {};
}

}  // namespace gantry::trees
