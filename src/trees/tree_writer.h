// SPDX-License-Identifier: Apache-2.0
//
// Writes the entries of an archive from directories that somebody else filled: layers of images,
// docker cp, export. No link is followed, no device or pipe is opened. Directories on the way to an
// entry can be written before it, as containerd does, so that a layer says their mode and owner;
// names of one file become hard links. Times are cut to whole seconds, which every tool can read.
// One thread.
#pragma once

#include <sys/stat.h>

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/byte_stream.h"
#include "base/error.h"
#include "base/stop_token.h"
#include "base/unique_fd.h"
#include "formats/tar.h"

namespace gantry::trees {

// A name in an open directory.
struct TreeItem {
  BorrowedFd parent;
  std::string name;
  std::string path;  // from the root of the tree, without a slash at its beginning
  struct stat status = {};
};

// What archives keep of a file's extended attributes: its capabilities and what users set.
Result<std::map<std::string, std::string>> ArchiveXattrs(BorrowedFd file);

// Opens a regular file for reading; kAborted when the name means something else by now.
Result<UniqueFd> OpenRegular(const TreeItem& item);
Result<std::string> ReadLinkOf(const TreeItem& item);

class TreeWriter {
 public:
  // No time in the archive is later than `newest_seconds`.
  TreeWriter(ByteSink& sink, std::optional<int64_t> newest_seconds, StopToken stop)
      : tar_(sink), newest_seconds_(newest_seconds), stop_(std::move(stop)) {}

  // Whom the archive names for an owner on disk.
  using MapOwner = std::function<std::pair<uid_t, gid_t>(uid_t uid, gid_t gid)>;
  void SetMapOwner(MapOwner map_owner) { map_owner_ = std::move(map_owner); }

  // A directory, open as `directory` until it is left; its entry is written at once, or with the
  // first one in it.
  enum class When { kNow, kWithContents };
  Result<> EnterDirectory(const TreeItem& item, BorrowedFd directory, When when);
  void LeaveDirectory() { parents_.pop_back(); }

  // Anything but a directory. Sockets are left out: an archive cannot hold them.
  Result<> WriteChanged(const TreeItem& item);
  // It is written only if it is another name of a changed file.
  Result<> NoteUnchanged(const TreeItem& item);
  Result<> WriteWhiteout(const std::string& path);
  // Of the directory that was entered last, or the root.
  Result<> WriteOpaque();
  Result<> Finish() { return tar_.Finish(); }

 private:
  using FileId = std::pair<dev_t, ino_t>;
  struct Parent {
    std::string path;
    struct stat status;
    BorrowedFd directory;
    bool written;
  };

  Result<> WriteParents();
  formats::TarEntry EntryOf(const std::string& path, const struct stat& status) const;
  Result<> WriteRegular(const TreeItem& item);
  Result<> WriteLink(const TreeItem& item, const std::string& target);
  Result<> WriteEmpty(const std::string& path);

  formats::TarWriter tar_;
  const std::optional<int64_t> newest_seconds_;
  const StopToken stop_;
  MapOwner map_owner_;
  std::vector<Parent> parents_;
  std::map<FileId, std::string> linked_;               // name that was written first
  std::map<FileId, std::vector<TreeItem>> unchanged_;  // other names that came before it
};

}  // namespace gantry::trees
