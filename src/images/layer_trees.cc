// SPDX-License-Identifier: Apache-2.0
#include "images/layer_trees.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <string_view>

#include "base/directory.h"
#include "kernel/mounts.h"

namespace gantry::images {
namespace {

struct OverlayLayers {
  std::vector<std::string> directories;  // the upper one first
  std::vector<std::string> others;       // the remaining options
};

std::optional<OverlayLayers> ParseOverlay(const snapshots::Mount& mount) {
  OverlayLayers overlay;
  std::string upper;
  for (const std::string& option : mount.options) {
    // A backslash hides a colon; "lowerdir+" and "::" have meanings of their own.
    if (option.starts_with("lowerdir+") || option.starts_with("datadir+")) return std::nullopt;
    if (option.starts_with("upperdir=")) {
      upper = option.substr(9);
    } else if (option.starts_with("lowerdir=")) {
      std::string_view rest = std::string_view(option).substr(9);
      if (rest.find('\\') != rest.npos || rest.find("::") != rest.npos) return std::nullopt;
      while (!rest.empty()) {
        size_t colon = std::min(rest.find(':'), rest.size());
        overlay.directories.emplace_back(rest.substr(0, colon));
        rest.remove_prefix(std::min(colon + 1, rest.size()));
      }
    } else if (!option.starts_with("workdir=")) {
      overlay.others.push_back(option);
    }
  }
  if (!upper.empty()) overlay.directories.insert(overlay.directories.begin(), std::move(upper));
  return overlay;
}

Result<UniqueFd> Restrict(UniqueFd mount) {
  constexpr uint64_t kAttributes =
      MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC;
  TRY(kernel::SetMountAttributes(mount, {.set = kAttributes}, kernel::Scope::kThisMount));
  // The descriptor of a mount is a path only; listing needs an open directory.
  UniqueFd root(::openat(mount.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!root.valid()) return ErrnoError("opening the root of a snapshot");
  return root;
}

bool HasXattr(BorrowedFd file, const char* name) {
  return ::fgetxattr(file.get(), name, nullptr, 0) >= 0;
}

// A file that was copied up without its contents, or that stands for a whiteout.
bool IsSpecialUpperFile(const TreeItem& item) {
  if (!S_ISREG(item.status.st_mode) || item.status.st_blocks != 0) return false;
  std::string path = fmt::format("/proc/self/fd/{}/{}", item.parent.get(), item.name);
  return ::lgetxattr(path.c_str(), "trusted.overlay.metacopy", nullptr, 0) >= 0 ||
         ::lgetxattr(path.c_str(), "trusted.overlay.whiteout", nullptr, 0) >= 0;
}

Result<bool> IsPlainUpperAt(BorrowedFd directory, const std::string& path, int depth) {
  char opaque = 0;
  if (HasXattr(directory, "trusted.overlay.redirect")) return false;
  if (::fgetxattr(directory.get(), "trusted.overlay.opaque", &opaque, 1) == 1 && opaque != 'y') {
    return false;
  }
  if (depth > kMaxTreeDepth) return MakeError(ErrorKind::kResourceExhausted, "too many levels");
  for (std::string& name : TRY(ListDirectory(directory))) {
    auto item = TRY(StatItem(directory, path, std::move(name)));
    if (!item) continue;
    if (IsSpecialUpperFile(*item)) return false;
    if (!S_ISDIR(item->status.st_mode)) continue;
    UniqueFd inner = TRY(OpenDirectory(*item));
    if (!TRY(IsPlainUpperAt(inner, item->path, depth + 1))) return false;
  }
  return true;
}

}  // namespace

std::optional<std::vector<std::string>> LayersOf(const std::vector<snapshots::Mount>& mounts) {
  if (mounts.empty()) return std::vector<std::string>();
  if (mounts.size() != 1 || !mounts[0].target.empty()) return std::nullopt;
  if (mounts[0].type == "bind") return std::vector<std::string>{mounts[0].source};
  if (mounts[0].type != "overlay") return std::nullopt;
  auto overlay = ParseOverlay(mounts[0]);
  if (!overlay) return std::nullopt;
  // Marks in attributes of users, which look different, are the kernel's business.
  const auto& others = overlay->others;
  if (std::find(others.begin(), others.end(), "userxattr") != others.end()) return std::nullopt;
  return std::move(overlay->directories);
}

Result<UniqueFd> OpenTreeOfDirectory(const std::string& path) {
  return Restrict(TRY(kernel::CloneMount(BorrowedFd(AT_FDCWD), path, kernel::BindKind::kBind)));
}

Result<UniqueFd> OpenTree(const std::vector<snapshots::Mount>& mounts) {
  if (mounts.size() != 1) {
    return Unimplemented("reading a snapshot: expected one mount, got {}", mounts.size());
  }
  const snapshots::Mount& mount = mounts[0];
  if (!mount.target.empty()) {
    return Unimplemented("reading a snapshot: a mount below the root is not supported");
  }
  if (mount.type == "bind") return OpenTreeOfDirectory(mount.source);
  std::vector<std::string> options = mount.options;
  if (mount.type == "overlay") {
    auto overlay = ParseOverlay(mount);
    if (!overlay) return Unimplemented("reading a snapshot: overlay options are not supported");
    const auto& directories = overlay->directories;
    if (directories.empty()) return InvalidArgument("reading a snapshot: overlay without layers");
    // The kernel wants two of them when nothing is written.
    if (directories.size() == 1) return OpenTreeOfDirectory(directories[0]);
    std::string lower = "lowerdir=";
    for (size_t i = 0; i < directories.size(); ++i) lower += (i > 0 ? ":" : "") + directories[i];
    options = std::move(overlay->others);
    options.push_back(std::move(lower));
  }
  return Restrict(TRY(kernel::MountDetached(mount.type, mount.source, options)));
}

Result<UniqueFd> OpenDirectory(const TreeItem& item) {
  UniqueFd directory(::openat(item.parent.get(), item.name.c_str(),
                              O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!directory.valid()) return ErrnoError("opening '{}'", item.path);
  return directory;
}

Result<std::optional<TreeItem>> StatItem(BorrowedFd parent, const std::string& parent_path,
                                         std::string name) {
  TreeItem item{.parent = parent, .name = std::move(name), .path = parent_path};
  item.path += (parent_path.empty() ? "" : "/") + item.name;
  if (::fstatat(parent.get(), item.name.c_str(), &item.status, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == ENOENT) return std::optional<TreeItem>();
    return ErrnoError("reading '{}'", item.path);
  }
  return std::optional<TreeItem>(std::move(item));
}

Result<bool> IsPlainUpper(BorrowedFd directory) { return IsPlainUpperAt(directory, "", 0); }

bool IsOverlayWhiteout(const struct stat& status) {
  return S_ISCHR(status.st_mode) && status.st_rdev == 0;
}

bool IsOverlayOpaque(BorrowedFd directory) {
  char value = 0;
  return ::fgetxattr(directory.get(), "trusted.overlay.opaque", &value, 1) == 1 && value == 'y';
}

}  // namespace gantry::images
