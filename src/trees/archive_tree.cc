// SPDX-License-Identifier: Apache-2.0
#include "trees/archive_tree.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <vector>

#include "base/directory.h"
#include "trees/tree_writer.h"

namespace gantry::trees {
namespace {

constexpr int kMaxDepth = 1000;  // each level holds a descriptor

bool Vanished(const Error& error) {
  int number = error.error_number();
  return number == ENOENT || number == ELOOP || number == ENOTDIR || number == ENXIO ||
         error.kind() == ErrorKind::kAborted;
}

class Walk {
 public:
  Walk(const ArchiveRequest& request, ByteSink& sink)
      : request_(request), writer_(sink, request.newest_seconds, request.stop) {
    writer_.SetMapOwner(request.map_owner);
  }

  // `path` is relative to where the walk began, "" there.
  Result<> Directory(BorrowedFd directory, const std::string& path, int depth) {
    if (depth > kMaxDepth) return MakeError(ErrorKind::kResourceExhausted, "too many levels");
    for (const std::string& name : TRY(ListDirectory(directory))) {
      if (request_.stop.stop_requested()) {
        return MakeError(ErrorKind::kCancelled, "making an archive: stopped");
      }
      TreeItem item{.parent = directory, .name = name, .path = Named(path, name)};
      if (::fstatat(directory.get(), name.c_str(), &item.status, AT_SYMLINK_NOFOLLOW) != 0) {
        if (errno == ENOENT) continue;
        return ErrnoError("reading '{}'", item.path);
      }
      std::string below = path.empty() ? name : path + "/" + name;
      Take take = request_.takes ? request_.takes(below) : Take::kYes;
      if (take == Take::kNo) continue;
      if (S_ISDIR(item.status.st_mode)) {
        TRY(Inner(item, below, depth, take));
        continue;
      }
      if (take == Take::kContents) continue;
      if (!TRY(Enters(directory, name, below))) continue;
      Result<> written = writer_.WriteChanged(item);
      if (!written.ok() && !Vanished(written.error())) return written;
    }
    return {};
  }

  Result<> Top(BorrowedFd directory) {
    TreeItem top{.parent = directory, .name = ".", .path = request_.name};
    if (::fstat(directory.get(), &top.status) != 0) return ErrnoError("reading a directory");
    if (!request_.name.empty()) {
      TRY(writer_.EnterDirectory(top, directory, TreeWriter::When::kNow));
    }
    TRY(Directory(directory, "", 0));
    if (!request_.name.empty()) writer_.LeaveDirectory();
    return writer_.Finish();
  }

  Result<> File(BorrowedFd parent, const std::string& base) {
    TreeItem item{.parent = parent, .name = base, .path = request_.name};
    if (::fstatat(parent.get(), base.c_str(), &item.status, AT_SYMLINK_NOFOLLOW) != 0) {
      return ErrnoError("reading '{}'", base);
    }
    TRY(writer_.WriteChanged(item));
    return writer_.Finish();
  }

 private:
  std::string Named(const std::string& path, const std::string& name) const {
    std::string out = request_.name;
    for (const std::string& part : {path, name}) {
      if (part.empty()) continue;
      if (!out.empty() && out.back() != '/') out += '/';
      out += part;
    }
    return out;
  }

  Result<> Inner(const TreeItem& item, const std::string& below, int depth, Take take) {
    UniqueFd inner(::openat(item.parent.get(), item.name.c_str(),
                            O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!inner.valid()) {
      if (errno == ENOENT || errno == ELOOP || errno == ENOTDIR) return {};
      return ErrnoError("opening '{}'", item.path);
    }
    TreeItem opened = item;
    if (::fstat(inner.get(), &opened.status) != 0) return ErrnoError("reading '{}'", item.path);
    TRY(writer_.EnterDirectory(
        opened, inner,
        take == Take::kYes ? TreeWriter::When::kNow : TreeWriter::When::kWithContents));
    if (TRY(Enters(inner, "", below))) TRY(Directory(inner, below, depth + 1));
    writer_.LeaveDirectory();
    return {};
  }

  Result<bool> Enters(BorrowedFd at, const std::string& name, const std::string& below) {
    if (!request_.enters_mount) return true;
    struct statx status{};
    int flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | (name.empty() ? AT_EMPTY_PATH : 0);
    if (::statx(at.get(), name.c_str(), flags, 0, &status) != 0) {
      if (errno == ENOENT) return false;
      return ErrnoError("reading '{}'", below);
    }
    bool mount = (status.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
    return !mount || request_.enters_mount(below);
  }

  const ArchiveRequest& request_;
  TreeWriter writer_;
};

}  // namespace

Result<> ArchiveDirectory(BorrowedFd directory, const ArchiveRequest& request, ByteSink& sink) {
  return Walk(request, sink).Top(directory);
}

Result<> ArchiveFile(BorrowedFd parent, const std::string& base, const ArchiveRequest& request,
                     ByteSink& sink) {
  return Walk(request, sink).File(parent, base);
}

}  // namespace gantry::trees
