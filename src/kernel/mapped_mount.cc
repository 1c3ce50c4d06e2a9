// SPDX-License-Identifier: Apache-2.0
#include "kernel/mapped_mount.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <charconv>

#include "base/io.h"
#include "base/text.h"
#include "kernel/filesystem_user.h"
#include "kernel/mounts.h"
#include "kernel/own_thread.h"
#include "kernel/user_namespace.h"

namespace gantry::kernel {
namespace {

constexpr std::string_view kLower = "lowerdir=";
constexpr std::string_view kUpper = "upperdir=";
constexpr std::string_view kWork = "workdir=";

// Layers are found by paths, of mounts in the caller's mount namespace (before Linux 6.15).
class MappedLayers {
 public:
  explicit MappedLayers(BorrowedFd user_namespace) : user_namespace_(user_namespace) {}

  // A mount namespace of this thread's own, with a tmpfs on /sys for places to mount at: nothing
  // else is looked for there, and paths of layers stay as they are.
  Result<> Begin() {
    if (::unshare(CLONE_NEWNS) < 0) return ErrnoError("making a mount namespace");
    if (::mount(nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr) < 0) {
      return ErrnoError("making mounts slaves");
    }
    UniqueFd places = TRY(NewMount("tmpfs", "tmpfs", {}, 0));
    UniqueFd on = TRY(OpenFile(kPlaces, O_PATH | O_DIRECTORY));
    return AttachMount(places, on);
  }

  // Where the directory is seen with mapped ids.
  Result<std::string> Map(const std::string& directory) {
    std::string place = fmt::format("{}/{}", kPlaces, next_++);
    UniqueFd tree = TRY(CloneMount(BorrowedFd(), directory, BindKind::kBind));
    TRY_WITH(MapMountIds(tree, user_namespace_, Scope::kThisMount), "layer '{}'", directory);
    if (::mkdir(place.c_str(), 0700) < 0) return ErrnoError("making '{}'", place);
    UniqueFd target = TRY(OpenFile(place, O_PATH | O_DIRECTORY));
    TRY(AttachMount(tree, target));
    return place;
  }

 private:
  static constexpr const char* kPlaces = "/sys";
  BorrowedFd user_namespace_;
  int next_ = 0;
};

Result<std::string> MapLower(const std::string& value, MappedLayers* layers) {
  std::string out;
  for (const std::string& layer : OverlayLayers(value)) {
    if (!out.empty()) out += ':';
    out += TRY(layers->Map(layer));
  }
  return out;
}

std::string ParentOf(const std::string& path) { return path.substr(0, path.rfind('/')); }
std::string NameOf(const std::string& path) { return path.substr(path.rfind('/') + 1); }

// The upper and the work directory must be in one mount: that of the directory which holds both.
Result<std::vector<std::string>> MapOptions(const std::vector<std::string>& options,
                                            MappedLayers* layers) {
  std::vector<std::string> out;
  std::string upper;
  std::string work;
  for (const std::string& option : options) {
    if (option.starts_with(kLower)) {
      std::string lower = TRY(MapLower(option.substr(kLower.size()), layers));
      out.push_back(std::string(kLower) + lower);
    } else if (option.starts_with(kUpper)) {
      upper = option.substr(kUpper.size());
    } else if (option.starts_with(kWork)) {
      work = option.substr(kWork.size());
    } else {
      out.push_back(option);
    }
  }
  if (upper.empty()) return out;
  if (ParentOf(upper) != ParentOf(work)) {
    return InvalidArgument("mapping the ids of '{}': its work directory is elsewhere", upper);
  }
  std::string both = TRY(layers->Map(ParentOf(upper)));
  out.push_back(fmt::format("{}{}/{}", kUpper, both, NameOf(upper)));
  out.push_back(fmt::format("{}{}/{}", kWork, both, NameOf(work)));
  return out;
}

// What id 0 is shown as.
Result<uint32_t> RootOf(const std::string& map) {
  for (const std::string& line : Split(map, '\n')) {
    std::vector<std::string> fields = SplitWords(line);
    uint32_t id = 0;
    if (fields.size() != 3 || fields[0] != "0") continue;
    const char* end = fields[1].data() + fields[1].size();
    if (std::from_chars(fields[1].data(), end, id).ptr == end) return id;
  }
  return InvalidArgument("mapping ids: '{}' says nothing of root", Trim(map));
}

}  // namespace

Result<UniqueFd> MountMapped(const std::string& type, const std::string& source,
                             const std::vector<std::string>& options, const IdMaps& maps) {
  UniqueFd users = TRY_WITH(MakeUserNamespace(maps.uids, maps.gids), "mapping ids");
  if (type != "overlay") {
    UniqueFd mount = TRY(MountDetached(type, source, options));
    TRY_WITH(MapMountIds(mount, users, Scope::kThisMount), "mount of '{}'", source);
    return mount;
  }
  uint32_t uid = TRY(RootOf(maps.uids));
  uint32_t gid = TRY(RootOf(maps.gids));
  return InThreadOfItsOwn([&]() -> Result<UniqueFd> {
    MappedLayers layers(users);
    TRY(layers.Begin());
    std::vector<std::string> mapped = TRY(MapOptions(options, &layers));
    // The overlay makes files of its own as whoever mounts it, and the host's root may be none of
    // those who can have files there.
    FilesystemUser user;
    TRY(user.Become(uid, gid));
    return MountDetached(type, source, mapped);
  });
}

Result<> CheckMapping(const std::string& path, const IdMaps& maps) {
  UniqueFd users = TRY(MakeUserNamespace(maps.uids, maps.gids));
  UniqueFd tree = TRY(CloneMount(BorrowedFd(), path, BindKind::kBind));
  return MapMountIds(tree, users, Scope::kThisMount);
}

}  // namespace gantry::kernel
