// SPDX-License-Identifier: Apache-2.0
#include "images/apply_layer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <memory>
#include <set>

#include "base/directory.h"
#include "base/io.h"
#include "base/text.h"
#include "formats/compression/compression.h"
#include "formats/tar.h"
#include "images/layer_directory.h"
#include "images/read_ahead.h"
#include "kernel/mounts.h"
#include "kernel/paths.h"
#include "trees/entry_maker.h"

namespace gantry::images {
namespace {

using formats::TarEntry;
using formats::TarType;

constexpr std::string_view kMetadata = ".wh..wh.";
constexpr std::string_view kOpaque = ".wh..wh..opq";

bool StartsWith(std::string_view text, std::string_view prefix) {
  return text.substr(0, prefix.size()) == prefix;
}

// Ends what would fill the disk: a few MiB of compressed zeros can be any number of GiB.
class BoundedSource : public ByteSource {
 public:
  BoundedSource(ByteSource& source, uint64_t limit) : source_(source), limit_(limit) {}
  Result<std::string_view> Next() override {
    std::string_view data = TRY(source_.Next());
    size_ += data.size();
    if (size_ <= limit_) return data;
    return MakeError(ErrorKind::kResourceExhausted, "the layer has more than {} bytes uncompressed",
                     limit_);
  }
  uint64_t size() const { return size_; }

 private:
  ByteSource& source_;
  const uint64_t limit_;
  uint64_t size_ = 0;
};

class LayerApplier {
 public:
  LayerApplier(LayerDirectory directory, Whiteouts whiteouts)
      : directory_(std::move(directory)),
        whiteouts_(whiteouts),
        maker_({.root = directory_.root()}) {}

  Result<> Apply(formats::TarReader& tar, const TarEntry& entry) {
    std::string name = CleanName(entry.name);
    if (name.empty()) return {};  // the root itself: the snapshot's, as in containerd
    size_t slash = name.rfind('/');
    std::string parent_name = slash == std::string::npos ? "" : name.substr(0, slash);
    std::string base = slash == std::string::npos ? name : name.substr(slash + 1);
    BorrowedFd parent = TRY(directory_.Parent(parent_name));
    if (StartsWith(base, kWhiteoutPrefix)) return Whiteout(parent, base, entry);
    TRY(maker_.Make(tar, parent, base, entry));
    if (entry.type == TarType::kDirectory) {
      directories_.emplace_back(name, trees::TimeOf(entry));
      TRY(directory_.NoteNamed(parent, base));
    }
    if (whiteouts_ == Whiteouts::kDelete) unpacked_.insert(TRY(RealPath(parent)) + "/" + base);
    return {};
  }

  // Times of directories, after everything in them was made.
  Result<> Finish() {
    for (const auto& [name, time] : directories_) {
      auto fd = kernel::OpenIn(directory_.root(), name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
      if (!fd.ok()) continue;  // a later entry replaced it
      timespec times[2] = {time, time};
      if (::futimens(fd->get(), times) != 0) return ErrnoError("setting times of '{}'", name);
    }
    return {};
  }

 private:
  Result<> Whiteout(BorrowedFd parent, const std::string& base, const TarEntry& entry) {
    if (base == kOpaque) {
      if (whiteouts_ == Whiteouts::kDelete) return DeleteOthers(parent);
      if (::fsetxattr(parent.get(), "trusted.overlay.opaque", "y", 1, 0) != 0) {
        return ErrnoError("making its directory opaque");
      }
      return {};
    }
    if (StartsWith(base, kMetadata)) return {};  // aufs' own files
    std::string hidden = base.substr(kWhiteoutPrefix.size());
    if (hidden.empty() || hidden == "." || hidden == "..") {
      return InvalidArgument("a whiteout that names nothing");
    }
    if (whiteouts_ == Whiteouts::kDelete) {
      stale_ = true;
      return kernel::RemoveTreeAt(parent, hidden);
    }
    TRY(maker_.MakeRoomAndRetry(parent, hidden, [&] {
      return ::mknodat(parent.get(), hidden.c_str(), S_IFCHR, makedev(0, 0));
    }));
    if (::fchownat(parent.get(), hidden.c_str(), entry.uid, entry.gid, AT_SYMLINK_NOFOLLOW) != 0) {
      return ErrnoError("changing its owner");
    }
    return {};
  }

  // Removes what this layer did not bring from an opaque directory.
  Result<> DeleteOthers(BorrowedFd directory) {
    std::string path = TRY(RealPath(directory));
    UniqueFd fd(::openat(directory.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!fd.valid()) return ErrnoError("listing it");
    DirectoryHandle listing(::fdopendir(fd.get()));
    if (!listing) return ErrnoError("listing it");
    (void)fd.Release();
    stale_ = true;
    while (const dirent* item = ::readdir(listing.get())) {
      std::string name = item->d_name;
      if (name == "." || name == "..") continue;
      std::string whole = path + "/" + name;
      auto ours = unpacked_.lower_bound(whole);
      bool keep = ours != unpacked_.end() && *ours == whole;
      bool holds = unpacked_.lower_bound(whole + "/") != unpacked_.lower_bound(whole + "0");
      if (!keep && !holds) {
        TRY(kernel::RemoveTreeAt(directory, name));
        continue;
      }
      UniqueFd inner(
          ::openat(directory.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
      if (inner.valid()) TRY(DeleteOthers(inner));
    }
    return {};
  }

 public:
  // Between entries: parents whose path may lead elsewhere now are looked up anew.
  void DropStaleParents() {
    bool removed = maker_.TakeRemoved();
    if (std::exchange(stale_, false) || removed) directory_.ForgetParents();
  }
  std::vector<std::string> unnamed() const { return directory_.unnamed(); }

 private:
  LayerDirectory directory_;
  const Whiteouts whiteouts_;
  trees::EntryMaker maker_;
  bool stale_ = false;
  std::vector<std::pair<std::string, timespec>> directories_;
  std::set<std::string> unpacked_;  // for kDelete: real paths that this layer brought
};

}  // namespace

Result<ApplyTarget> TargetOfMounts(const std::vector<snapshots::Mount>& mounts) {
  if (mounts.size() != 1) {
    return Unimplemented("applying a layer: expected one mount, got {}", mounts.size());
  }
  const snapshots::Mount& mount = mounts[0];
  ApplyTarget target;
  if (mount.type == "bind") {
    target.directory = mount.source;
    return target;
  }
  if (mount.type != "overlay") {
    return Unimplemented("applying a layer: mounts of type '{}' are not supported", mount.type);
  }
  target.whiteouts = Whiteouts::kOverlay;
  for (const std::string& option : mount.options) {
    if (StartsWith(option, "upperdir=")) target.directory = option.substr(9);
    if (StartsWith(option, "lowerdir=")) target.lowers = Split(option.substr(9), ':');
  }
  if (target.directory.empty()) {
    return FailedPrecondition("applying a layer: the overlay has no upperdir, it is read-only");
  }
  return target;
}

Result<AppliedLayer> ApplyToMounts(const std::vector<snapshots::Mount>& mounts, ByteSource& layer,
                                   const StopToken& stop, const ApplyOptions& options) {
  bool foreign = mounts.size() == 1 && mounts[0].type != "bind" && mounts[0].type != "overlay";
  if (!foreign) return ApplyLayer(TRY(TargetOfMounts(mounts)), layer, stop, options);
  const snapshots::Mount& mount = mounts[0];
  UniqueFd root = TRY(kernel::MountDetached(mount.type, mount.source, mount.options));
  ApplyTarget target;
  target.directory = fmt::format("/proc/self/fd/{}", root.get());
  return ApplyLayer(target, layer, stop, options);
}

namespace {

// Makes everything that the tar says; the names of unnamed directories.
Result<std::vector<std::string>> MakeEntries(const ApplyTarget& target, ByteSource& plain,
                                             const StopToken& stop) {
  formats::TarReader tar(plain);
  LayerApplier applier(TRY(LayerDirectory::Open(target.directory, target.lowers)),
                       target.whiteouts);
  TarEntry entry;
  while (TRY(tar.NextEntry(&entry))) {
    if (stop.stop_requested()) return MakeError(ErrorKind::kCancelled, "applying a layer: stopped");
    TRY_WITH(applier.Apply(tar, entry), "extracting '{}'", entry.name);
    applier.DropStaleParents();
  }
  TRY(tar.Drain());
  TRY(applier.Finish());
  return applier.unnamed();
}

}  // namespace

Result<AppliedLayer> ApplyLayer(const ApplyTarget& target, ByteSource& layer, const StopToken& stop,
                                const ApplyOptions& options) {
  auto plain = TRY(formats::compression::Decompress(layer));
  BoundedSource bounded(*plain, options.max_bytes);
  AppliedLayer applied;
  if (options.hashing == Hashing::kNone) {
    applied.unnamed = TRY(MakeEntries(target, bounded, stop));
    applied.size = bounded.size();
    return applied;
  }
  // Decompressing, hashing and writing files have a thread each: on two processors the slowest of
  // them decides.
  formats::Hasher hasher;
  ReadAhead ahead(bounded, [&](std::string_view chunk) { hasher.Update(chunk); });
  applied.unnamed = TRY(MakeEntries(target, ahead, stop));
  ahead.Stop();
  applied.diff_id = hasher.Current();
  applied.size = bounded.size();
  return applied;
}

Result<> TakeLowerAttributes(const std::vector<snapshots::Mount>& mounts,
                             const std::vector<std::string>& unnamed) {
  ApplyTarget target = TRY(TargetOfMounts(mounts));
  return TRY(LayerDirectory::Open(target.directory, target.lowers)).TakeAttributes(unnamed);
}

}  // namespace gantry::images
