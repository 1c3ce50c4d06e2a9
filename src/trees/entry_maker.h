// SPDX-License-Identifier: Apache-2.0
//
// Makes on disk what the entries of an archive say, in a directory that is open already: layers of
// images, docker cp. No link is followed but on the way to a hard link's target, below the root.
// One thread.
#pragma once

#include <sys/types.h>
#include <time.h>

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/unique_fd.h"
#include "formats/mode_change.h"
#include "formats/tar.h"
#include "kernel/paths.h"

namespace gantry::trees {

// "a/b" of "/a/./b/../b/": no empty, "." or ".." parts; ".." ends at the root, which is "".
std::string CleanName(std::string_view name);

// Sets extended attributes as archives name them. What a file system or a kind of file cannot hold
// is left out, and so is trusted.overlay.*, which would change what layers show.
Result<> SetXattrs(BorrowedFd file, const std::map<std::string, std::string>& xattrs);

// Times before 1970 make trouble for old tools; containerd sets them to the beginning too.
timespec TimeOf(const formats::TarEntry& entry);

enum class Owners : uint8_t {
  kFromArchive,
  kOfCaller,  // whoever runs this; attributes that only root may set are left out
};

class EntryMaker {
 public:
  struct Options {
    BorrowedFd root;   // what names of hard links' targets are relative to, with `base`
    std::string base;  // "", or the name of a directory below the root
    kernel::Links links = kernel::Links::kInRoot;
    Owners owners = Owners::kFromArchive;
    // A directory never takes the place of anything else, nor the reverse.
    bool keeps_kinds = false;
    // What names in the archive become, hard links' targets too; for ExtractTree.
    std::function<std::string(std::string name)> rename;
    // Everything belongs to these.
    std::optional<std::pair<uid_t, gid_t>> owner;
    // What owners become when they are set; kInvalidArgument for one that can't be.
    std::function<Result<std::pair<uid_t, gid_t>>(uid_t uid, gid_t gid)> map_owner;
    // What becomes of the permissions of everything but symbolic links.
    std::optional<formats::ModeChange> mode;
    // Everything has this time.
    std::optional<timespec> time;
  };
  explicit EntryMaker(Options options) : options_(std::move(options)) {}
  timespec TimeFor(const formats::TarEntry& entry) const {
    return options_.time ? *options_.time : TimeOf(entry);
  }

  // Makes `name` in `parent` with the contents that `tar` stands at. What is in the way is removed;
  // a directory is merged with one that is there, and gets no times: what comes into it changes
  // them.
  Result<> Make(formats::TarReader& tar, BorrowedFd parent, const std::string& name,
                const formats::TarEntry& entry);
  // Runs a call that makes `name`; what is in its way is removed first.
  template <typename F>
  Result<> MakeRoomAndRetry(BorrowedFd parent, const std::string& name, F&& make) {
    if (make() >= 0) return {};
    if (errno != EEXIST) return ErrnoError("making it");
    TRY(kernel::RemoveTreeAt(parent, name));
    // `parent` itself stays open: it was not what was removed.
    removed_ = true;
    if (make() < 0) return ErrnoError("making it");
    return {};
  }
  // Whether something that may have been a directory or a link was removed since the last call:
  // paths that were resolved before lead elsewhere.
  bool TakeRemoved() { return std::exchange(removed_, false); }

 private:
  Result<> CheckKind(BorrowedFd parent, const std::string& name, const formats::TarEntry& entry);
  Result<> MakeRegular(formats::TarReader& tar, BorrowedFd parent, const std::string& name,
                       const formats::TarEntry& entry);
  Result<> MakeDirectory(BorrowedFd parent, const std::string& name,
                         const formats::TarEntry& entry);
  Result<> MakeHardLink(BorrowedFd parent, const std::string& name, const formats::TarEntry& entry);
  Result<> MakeSpecial(BorrowedFd parent, const std::string& name, const formats::TarEntry& entry);

  enum class Times { kNow, kLater };
  mode_t ModeOf(const formats::TarEntry& entry) const;
  Result<> SetAttributesOf(BorrowedFd file, const formats::TarEntry& entry, Times when) const;
  Result<> SetAttributes(BorrowedFd parent, const std::string& name,
                         const formats::TarEntry& entry) const;
  Result<> SetOwnerAndXattrs(BorrowedFd file, const formats::TarEntry& entry) const;

  const Options options_;
  bool removed_ = false;
};

}  // namespace gantry::trees
