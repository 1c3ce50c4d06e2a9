// SPDX-License-Identifier: Apache-2.0
//
// GET /containers/{}/changes: the container's files compared with its image's, name by name, as
// docker lists them. Where the writable layer is an overlay's upper directory only what is in it is
// compared.
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <optional>
#include <set>
#include <utility>

#include "base/directory.h"
#include "base/log.h"
#include "base/random.h"
#include "base/undo.h"
#include "engine/engine.h"
#include "engine/root_view.h"
#include "kernel/mounts.h"
#include "kernel/paths.h"

namespace gantry::engine {
namespace {

using Change = Engine::Change;

constexpr int kMaxDepth = 1000;  // each level holds two descriptors

// Empty files and directories that the runtime makes to mount on. docker has them in a layer below.
constexpr auto kMountTargets = std::to_array<std::string_view>(
    {"/.dockerenv", "/dev", "/dev/console", "/dev/mqueue", "/dev/pts", "/dev/shm", "/etc/hostname",
     "/etc/hosts", "/etc/mtab", "/etc/resolv.conf", "/proc", "/sbin/docker-init", "/sys", "/sys/fs",
     "/sys/fs/cgroup"});

using Names = std::set<std::string>;

Result<Names> NamesIn(BorrowedFd directory) {
  if (!directory.valid()) return Names();
  std::vector<std::string> names = TRY(ListDirectory(directory));
  return Names(names.begin(), names.end());
}

std::optional<struct stat> StatOf(BorrowedFd directory, const std::string& name) {
  struct stat status;
  if (!directory.valid()) return std::nullopt;
  if (::fstatat(directory.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
    return std::nullopt;
  }
  return status;
}

UniqueFd OpenInner(BorrowedFd directory, const std::string& name) {
  if (!directory.valid()) return UniqueFd();
  return UniqueFd(
      ::openat(directory.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
}

bool SameButTime(const struct stat& a, const struct stat& b) {
  return a.st_mode == b.st_mode && a.st_uid == b.st_uid && a.st_gid == b.st_gid &&
         a.st_rdev == b.st_rdev;
}

bool SameTime(const struct stat& a, const struct stat& b) {
  return a.st_mtim.tv_sec == b.st_mtim.tv_sec && a.st_mtim.tv_nsec == b.st_mtim.tv_nsec;
}

// Trees of three kinds: `upper`, whose names are those to look at (the writable layer, or all of
// the container's), `now` as the container sees it, `old` as the image has it.
class Comparison {
 public:
  Result<> Directory(BorrowedFd upper, BorrowedFd now, BorrowedFd old, const std::string& path,
                     int depth) {
    if (depth > kMaxDepth) return MakeError(ErrorKind::kResourceExhausted, "too many levels");
    Names names = TRY(NamesIn(upper));
    // What an opaque directory or a removed one has lost is in the image's names only.
    for (const std::string& name : TRY(NamesIn(old))) {
      if (!StatOf(now, name)) names.insert(name);
    }
    for (const std::string& name : names) TRY(Entry(upper, now, old, path, name, depth));
    return {};
  }

  std::vector<Change> changes;

 private:
  Result<> Entry(BorrowedFd upper, BorrowedFd now, BorrowedFd old, const std::string& path,
                 const std::string& name, int depth) {
    std::string whole = path + "/" + name;
    auto current = StatOf(now, name);
    auto before = StatOf(old, name);
    if (!current) {
      if (before) changes.push_back({Change::Kind::kDeleted, whole});
      return {};
    }
    bool is_directory = S_ISDIR(current->st_mode);
    bool was_directory = before && S_ISDIR(before->st_mode);
    size_t place = changes.size();
    size_t hidden = hidden_;
    UniqueFd inner_now, inner_old;
    if (is_directory) {
      UniqueFd inner_upper = OpenInner(upper, name);
      inner_now = OpenInner(now, name);
      if (was_directory) inner_old = OpenInner(old, name);
      TRY(Directory(inner_upper, inner_now, inner_old, whole, depth + 1));
    }
    bool inside = changes.size() > place;
    if (!before) {
      if (!inside && IsMountTarget(whole, *current)) {
        ++hidden_;
        return {};
      }
      return Insert(place, {Change::Kind::kAdded, whole});
    }
    bool same = SameButTime(*current, *before);
    if (is_directory) {
      // The time of a directory also tells of mount targets.
      same = same && !inside && (SameTime(*current, *before) || hidden_ > hidden);
    } else {
      same = same && SameTime(*current, *before) && current->st_size == before->st_size;
    }
    return same ? Result<>() : Insert(place, {Change::Kind::kModified, whole});
  }

  // A directory stands before what is in it.
  Result<> Insert(size_t place, Change change) {
    changes.insert(changes.begin() + static_cast<std::ptrdiff_t>(place), std::move(change));
    return {};
  }

  static bool IsMountTarget(const std::string& path, const struct stat& status) {
    bool empty = S_ISDIR(status.st_mode) || status.st_size == 0 || S_ISLNK(status.st_mode);
    return empty &&
           std::find(kMountTargets.begin(), kMountTargets.end(), path) != kMountTargets.end();
  }

  size_t hidden_ = 0;
};

std::string OptionOf(const client::Mount& mount, std::string_view name) {
  for (const std::string& option : mount.options) {
    if (option.starts_with(name)) return option.substr(name.size());
  }
  return "";
}

// The layers below an overlay's upper directory, as one tree.
Result<UniqueFd> OpenImage(const client::Mount& mount) {
  client::Mount lower = mount;
  std::erase_if(lower.options, [](const std::string& option) {
    return option.starts_with("upperdir=") || option.starts_with("workdir=");
  });
  std::string layers = OptionOf(mount, "lowerdir=");
  if (layers.find(':') != std::string::npos) return OpenReadOnlyView(lower);
  // The kernel wants two layers when nothing is written.
  return kernel::MountDetached("bind", layers, {"bind", "ro"});
}

}  // namespace

Result<std::vector<Engine::Change>> Engine::Changes(std::string_view reference) {
  auto container = TRY(Find(reference));
  const std::string& id = container->id();
  auto mounts = TRY(containerd_->SnapshotMounts(options_.snapshotter, id));
  if (mounts.empty()) return Internal("container {} has no files", reference);
  const client::Mount& mount = mounts.front();
  UniqueFd root = TRY(OpenRootAlone(*container));
  UniqueFd now = TRY(kernel::OpenIn(root, "", O_RDONLY | O_DIRECTORY));
  Undo remove_view;
  UniqueFd upper, image;
  if (mount.type == "overlay") {
    upper = TRY(kernel::OpenRoot(OptionOf(mount, "upperdir=")));
    image = TRY(OpenImage(mount));
  } else if (!container->record()->parent_snapshot.empty()) {
    std::string key = fmt::format("{}-changes-{}", id, RandomHex(4));
    auto view = TRY(containerd_->ViewSnapshot(options_.snapshotter, key,
                                              container->record()->parent_snapshot, {}));
    remove_view.Push([this, key] {
      Result<> removed = containerd_->RemoveSnapshot(options_.snapshotter, key);
      if (!removed.ok()) log::Warning("removing snapshot {}: {}", key, removed.error().message());
    });
    if (!view.empty()) image = TRY(OpenReadOnlyView(view.front()));
  }
  Comparison comparison;
  TRY(comparison.Directory(upper.valid() ? BorrowedFd(upper) : BorrowedFd(now), now, image, "", 0));
  return std::move(comparison.changes);
}

}  // namespace gantry::engine
