// SPDX-License-Identifier: Apache-2.0
#include "images/make_layer.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "base/directory.h"
#include "base/io.h"
#include "base/log.h"
#include "images/apply_layer.h"
#include "images/layer_trees.h"

namespace gantry::images {
namespace {

using formats::compression::Kind;

class HashingSink : public ByteSink {
 public:
  explicit HashingSink(ByteSink& sink) : sink_(sink) {}
  Result<> Write(std::string_view data) override {
    hasher_.Update(data);
    size_ += data.size();
    return sink_.Write(data);
  }
  MadeLayer layer() const { return {hasher_.Current(), size_}; }

 private:
  ByteSink& sink_;
  formats::Hasher hasher_;
  uint64_t size_ = 0;
};

// Such a name would say something else in a layer.
bool IsUnspeakable(const TreeItem& item) {
  if (!item.name.starts_with(kWhiteoutPrefix)) return false;
  log::Warning("making a layer: leaving out '{}', its name is that of a whiteout", item.path);
  return true;
}

Result<> CheckDepth(const std::string& path, int depth) {
  if (depth <= kMaxTreeDepth) return {};
  return MakeError(ErrorKind::kResourceExhausted,
                   "making a layer: '{}' is more than {} levels deep", path, kMaxTreeDepth);
}

// Up to `size` bytes; fewer at the end of the file only.
Result<std::string_view> Fill(BorrowedFd file, char* buffer, size_t size) {
  size_t have = 0;
  while (have < size) {
    size_t more = TRY(ReadSome(file, buffer + have, size - have));
    if (more == 0) break;
    have += more;
  }
  return std::string_view(buffer, have);
}

Result<bool> SameContents(const TreeItem& a, const TreeItem& b) {
  constexpr size_t kBytes = size_t{64} << 10;
  UniqueFd first = TRY(OpenRegular(a));
  UniqueFd second = TRY(OpenRegular(b));
  auto buffer = std::make_unique<char[]>(2 * kBytes);
  for (;;) {
    std::string_view one = TRY(Fill(first, buffer.get(), kBytes));
    std::string_view other = TRY(Fill(second, buffer.get() + kBytes, kBytes));
    if (one != other) return false;
    if (one.empty()) return true;
  }
}

bool SameOwnerAndMode(const struct stat& a, const struct stat& b) {
  return a.st_mode == b.st_mode && a.st_uid == b.st_uid && a.st_gid == b.st_gid &&
         (!(S_ISCHR(a.st_mode) || S_ISBLK(a.st_mode)) || a.st_rdev == b.st_rdev);
}

// Everything but what is in a directory.
Result<bool> Same(const TreeItem& a, const TreeItem& b) {
  if (a.status.st_dev == b.status.st_dev && a.status.st_ino == b.status.st_ino) return true;
  if (!SameOwnerAndMode(a.status, b.status)) return false;
  if (S_ISDIR(a.status.st_mode)) {
    return TRY(ArchiveXattrs(TRY(OpenDirectory(a)))) == TRY(ArchiveXattrs(TRY(OpenDirectory(b))));
  }
  const timespec& first = a.status.st_mtim;
  const timespec& second = b.status.st_mtim;
  if (a.status.st_size != b.status.st_size || first.tv_sec != second.tv_sec ||
      first.tv_nsec != second.tv_nsec) {
    return false;
  }
  if (S_ISLNK(a.status.st_mode)) return TRY(ReadLinkOf(a)) == TRY(ReadLinkOf(b));
  if (!S_ISREG(a.status.st_mode)) return true;
  if (TRY(ArchiveXattrs(TRY(OpenRegular(a)))) != TRY(ArchiveXattrs(TRY(OpenRegular(b)))))
    return false;
  // Whole seconds come from an archive: two versions of a file may well have the same.
  return first.tv_nsec != 0 || a.status.st_size == 0 || TRY(SameContents(a, b));
}

// Walks two trees side by side.
class TreeComparison {
 public:
  explicit TreeComparison(TreeWriter* writer) : writer_(*writer) {}

  // `lower` is invalid where the lower tree has no such directory.
  Result<> Directory(BorrowedFd lower, BorrowedFd upper, const std::string& path, int depth) {
    TRY(CheckDepth(path, depth));
    std::vector<std::string> old_names;
    if (lower.valid()) old_names = TRY(ListDirectory(lower));
    std::vector<std::string> new_names = TRY(ListDirectory(upper));
    auto old_name = old_names.begin();
    auto new_name = new_names.begin();
    while (old_name != old_names.end() || new_name != new_names.end()) {
      bool only_old =
          new_name == new_names.end() || (old_name != old_names.end() && *old_name < *new_name);
      if (only_old) {
        TRY(writer_.WriteWhiteout((path.empty() ? "" : path + "/") + *old_name++));
        continue;
      }
      std::optional<TreeItem> old;
      bool both = old_name != old_names.end() && *old_name == *new_name;
      if (both) old = TRY(StatItem(lower, path, *old_name++));
      auto item = TRY(StatItem(upper, path, *new_name++));
      if (!item) {
        if (old) TRY(writer_.WriteWhiteout(old->path));
      } else if (!IsUnspeakable(*item)) {
        TRY(Item(old, *item, depth));
      }
    }
    return {};
  }

 private:
  Result<> Item(const std::optional<TreeItem>& old, const TreeItem& item, int depth) {
    bool same = old && TRY(Same(*old, item));
    if (!S_ISDIR(item.status.st_mode)) {
      if (same) return writer_.NoteUnchanged(item);
      // A socket cannot be said, but that it took a file's place can.
      if (S_ISSOCK(item.status.st_mode) && old && !S_ISSOCK(old->status.st_mode)) {
        return writer_.WriteWhiteout(item.path);
      }
      return writer_.WriteChanged(item);
    }
    UniqueFd lower;
    if (old && S_ISDIR(old->status.st_mode)) lower = TRY(OpenDirectory(*old));
    UniqueFd upper = TRY(OpenDirectory(item));
    auto when = same ? TreeWriter::When::kWithContents : TreeWriter::When::kNow;
    TRY(writer_.EnterDirectory(item, upper, when));
    TRY(Directory(lower, upper, item.path, depth + 1));
    writer_.LeaveDirectory();
    return {};
  }

  TreeWriter& writer_;
};

// All that is in an overlay's upper directory.
Result<> WriteUpper(TreeWriter& writer, BorrowedFd directory, const std::string& path, int depth) {
  TRY(CheckDepth(path, depth));
  if (IsOverlayOpaque(directory)) TRY(writer.WriteOpaque());
  for (std::string& name : TRY(ListDirectory(directory))) {
    auto found = TRY(StatItem(directory, path, std::move(name)));
    if (!found) continue;
    const TreeItem& item = *found;
    if (IsOverlayWhiteout(item.status)) {
      TRY(writer.WriteWhiteout(item.path));
    } else if (IsUnspeakable(item)) {
      continue;
    } else if (S_ISDIR(item.status.st_mode)) {
      UniqueFd inner = TRY(OpenDirectory(item));
      TRY(writer.EnterDirectory(item, inner, TreeWriter::When::kNow));
      TRY(WriteUpper(writer, inner, item.path, depth + 1));
      writer.LeaveDirectory();
    } else {
      TRY(writer.WriteChanged(item));
    }
  }
  return {};
}

// The one layer that the upper mounts have on top of the lower ones; invalid when it is not so.
Result<UniqueFd> TopLayer(const LayerRequest& request) {
  auto lower = LayersOf(request.lower);
  auto upper = LayersOf(request.upper);
  if (!lower || !upper || lower->empty() || upper->size() != lower->size() + 1 ||
      !std::equal(lower->begin(), lower->end(), upper->begin() + 1)) {
    return UniqueFd();
  }
  UniqueFd top = TRY(OpenTreeOfDirectory(upper->front()));
  if (!TRY(IsPlainUpper(top))) return UniqueFd();
  return top;
}

Result<> WriteDifference(const LayerRequest& request, TreeWriter& writer) {
  UniqueFd top = TRY(TopLayer(request));
  if (top.valid()) {
    TRY(WriteUpper(writer, top, "", 0));
  } else {
    UniqueFd lower;
    if (!request.lower.empty()) lower = TRY(OpenTree(request.lower));
    UniqueFd upper = TRY(OpenTree(request.upper));
    TRY(TreeComparison(&writer).Directory(lower, upper, "", 0));
  }
  return writer.Finish();
}

}  // namespace

Result<MadeLayer> MakeLayer(const LayerRequest& request, ByteSink& sink, const StopToken& stop) {
  auto write = [&](ByteSink& to) -> Result<MadeLayer> {
    HashingSink hashed(to);
    TreeWriter writer(hashed, request.newest_seconds, stop);
    TRY(WriteDifference(request, writer));
    return hashed.layer();
  };
  auto compress = [&](auto&& compressor) -> Result<MadeLayer> {
    MadeLayer layer = TRY(write(compressor));
    TRY(compressor.Finish());
    return layer;
  };
  switch (request.compression) {
    case Kind::kGzip:
      return compress(formats::compression::GzipSink(sink));
    case Kind::kZstd:
      return compress(formats::compression::ZstdSink(sink));
    case Kind::kNone:
      break;
  }
  return write(sink);
}

}  // namespace gantry::images
