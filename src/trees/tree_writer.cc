// SPDX-License-Identifier: Apache-2.0
#include "trees/tree_writer.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>

#include "base/io.h"

namespace gantry::trees {
namespace {

using formats::TarEntry;
using formats::TarType;

constexpr size_t kReadBytes = size_t{256} << 10;

bool IsArchiveXattr(std::string_view name) {
  if (name == "security.capability") return true;
  return name.starts_with("user.") && !name.starts_with("user.overlay.");
}

TarType TypeOf(mode_t mode) {
  switch (mode & S_IFMT) {
    case S_IFREG:
      return TarType::kFile;
    case S_IFDIR:
      return TarType::kDirectory;
    case S_IFLNK:
      return TarType::kSymlink;
    case S_IFCHR:
      return TarType::kCharDevice;
    case S_IFBLK:
      return TarType::kBlockDevice;
    case S_IFIFO:
      return TarType::kFifo;
    default:
      return TarType::kUnknown;
  }
}

}  // namespace

Result<std::map<std::string, std::string>> ArchiveXattrs(BorrowedFd file) {
  std::map<std::string, std::string> xattrs;
  // Most files have none: the size alone says so.
  ssize_t size = ::flistxattr(file.get(), nullptr, 0);
  if (size == 0 || (size < 0 && errno == ENOTSUP)) return xattrs;
  if (size < 0) return ErrnoError("listing its attributes");
  std::string names(XATTR_LIST_MAX, '\0');
  size = ::flistxattr(file.get(), names.data(), names.size());
  if (size < 0) return ErrnoError("listing its attributes");
  names.resize(static_cast<size_t>(size));
  for (size_t begin = 0; begin < names.size();) {
    std::string name = names.c_str() + begin;
    begin += name.size() + 1;
    if (!IsArchiveXattr(name)) continue;
    std::string value(XATTR_SIZE_MAX, '\0');
    ssize_t length = ::fgetxattr(file.get(), name.c_str(), value.data(), value.size());
    if (length < 0 && errno == ENODATA) continue;  // removed meanwhile
    if (length < 0) return ErrnoError("reading attribute '{}'", name);
    value.resize(static_cast<size_t>(length));
    xattrs[std::move(name)] = std::move(value);
  }
  return xattrs;
}

Result<UniqueFd> OpenRegular(const TreeItem& item) {
  // The mount has no devices; not to wait is for a pipe that took the file's place.
  UniqueFd file(::openat(item.parent.get(), item.name.c_str(),
                         O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!file.valid()) return ErrnoError("opening '{}'", item.path);
  struct stat status;
  if (::fstat(file.get(), &status) != 0) return ErrnoError("reading '{}'", item.path);
  if (!S_ISREG(status.st_mode)) {
    return MakeError(ErrorKind::kAborted, "reading '{}': it was replaced meanwhile", item.path);
  }
  return file;
}

Result<std::string> ReadLinkOf(const TreeItem& item) {
  char target[PATH_MAX];
  ssize_t size = ::readlinkat(item.parent.get(), item.name.c_str(), target, sizeof target);
  if (size < 0) return ErrnoError("reading link '{}'", item.path);
  return std::string(target, static_cast<size_t>(size));
}

TarEntry TreeWriter::EntryOf(const std::string& path, const struct stat& status) const {
  TarEntry entry{.type = TypeOf(status.st_mode), .name = path};
  entry.mode = status.st_mode & 07777;
  entry.uid = status.st_uid;
  entry.gid = status.st_gid;
  if (map_owner_) std::tie(entry.uid, entry.gid) = map_owner_(status.st_uid, status.st_gid);
  entry.mtime_seconds = status.st_mtim.tv_sec;
  if (newest_seconds_) entry.mtime_seconds = std::min(entry.mtime_seconds, *newest_seconds_);
  if (S_ISDIR(status.st_mode) && !path.ends_with('/')) entry.name += '/';
  if (S_ISCHR(status.st_mode) || S_ISBLK(status.st_mode)) {
    entry.device_major = major(status.st_rdev);
    entry.device_minor = minor(status.st_rdev);
  }
  return entry;
}

Result<> TreeWriter::EnterDirectory(const TreeItem& item, BorrowedFd directory, When when) {
  parents_.push_back({item.path, item.status, directory, false});
  if (when == When::kNow) TRY(WriteParents());
  return {};
}

Result<> TreeWriter::WriteParents() {
  if (stop_.stop_requested()) return MakeError(ErrorKind::kCancelled, "making an archive: stopped");
  for (Parent& parent : parents_) {
    if (parent.written) continue;
    TarEntry entry = EntryOf(parent.path, parent.status);
    entry.xattrs = TRY_WITH(ArchiveXattrs(parent.directory), "reading '{}'", parent.path);
    TRY(tar_.WriteHeader(entry));
    parent.written = true;
  }
  return {};
}

Result<> TreeWriter::WriteChanged(const TreeItem& item) {
  TarEntry entry = EntryOf(item.path, item.status);
  if (entry.type == TarType::kUnknown) return {};
  TRY(WriteParents());
  std::vector<TreeItem> others;
  if (item.status.st_nlink > 1) {
    FileId id{item.status.st_dev, item.status.st_ino};
    auto [first, inserted] = linked_.try_emplace(id, item.path);
    if (!inserted) return WriteLink(item, first->second);
    if (auto earlier = unchanged_.extract(id)) others = std::move(earlier.mapped());
  }
  if (entry.type == TarType::kFile) {
    TRY(WriteRegular(item));
  } else {
    if (entry.type == TarType::kSymlink) entry.link_name = TRY(ReadLinkOf(item));
    TRY(tar_.WriteHeader(entry));
  }
  for (const TreeItem& other : others) TRY(WriteLink(other, item.path));
  return {};
}

Result<> TreeWriter::NoteUnchanged(const TreeItem& item) {
  if (item.status.st_nlink < 2) return {};
  FileId id{item.status.st_dev, item.status.st_ino};
  auto first = linked_.find(id);
  if (first == linked_.end()) {
    unchanged_[id].push_back({BorrowedFd(), item.name, item.path, item.status});
    return {};
  }
  TRY(WriteParents());
  return WriteLink(item, first->second);
}

Result<> TreeWriter::WriteLink(const TreeItem& item, const std::string& target) {
  TarEntry entry = EntryOf(item.path, item.status);
  entry.type = TarType::kHardLink;
  entry.link_name = target;
  return tar_.WriteHeader(entry);
}

Result<> TreeWriter::WriteRegular(const TreeItem& item) {
  UniqueFd file = TRY(OpenRegular(item));
  struct stat status;
  if (::fstat(file.get(), &status) != 0) return ErrnoError("reading '{}'", item.path);
  TarEntry entry = EntryOf(item.path, status);
  entry.size = static_cast<uint64_t>(status.st_size);
  entry.xattrs = TRY_WITH(ArchiveXattrs(file), "reading '{}'", item.path);
  TRY(tar_.WriteHeader(entry));
  FdSource source(BorrowedFd(file), stop_, kReadBytes);
  for (uint64_t left = entry.size; left > 0;) {
    std::string_view data = TRY_WITH(source.Next(), "reading '{}'", item.path);
    if (data.empty()) {
      return MakeError(ErrorKind::kAborted, "reading '{}': it became shorter meanwhile", item.path);
    }
    data = data.substr(0, left);  // what was appended meanwhile is not part of it
    TRY(tar_.WriteData(data));
    left -= data.size();
  }
  return {};
}

Result<> TreeWriter::WriteEmpty(const std::string& path) {
  TRY(WriteParents());
  TarEntry entry{.type = TarType::kFile, .name = path};
  entry.mode = 0;
  return tar_.WriteHeader(entry);
}

Result<> TreeWriter::WriteWhiteout(const std::string& path) {
  size_t base = path.rfind('/') + 1;  // 0 when there is no slash
  return WriteEmpty(path.substr(0, base) + ".wh." + path.substr(base));
}

Result<> TreeWriter::WriteOpaque() {
  return WriteEmpty((parents_.empty() ? "" : parents_.back().path + "/") + ".wh..wh..opq");
}

}  // namespace gantry::trees
