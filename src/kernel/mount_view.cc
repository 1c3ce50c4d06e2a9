// SPDX-License-Identifier: Apache-2.0
#include "kernel/mount_view.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "base/io.h"
#include "kernel/mounts.h"
#include "kernel/own_thread.h"
#include "kernel/paths.h"

namespace gantry::kernel {
namespace {

// Directories on the way and the place itself, of the kind of what is mounted there.
Result<UniqueFd> OpenPlace(BorrowedFd root, const std::string& place, bool directory) {
  Result<UniqueFd> found = OpenIn(root, place, O_PATH);
  if (found.ok() || found.error().error_number() != ENOENT) return found;
  size_t slash = place.rfind('/');
  if (slash == std::string::npos || slash + 1 == place.size()) return found;
  UniqueFd parent = TRY(OpenPlace(root, slash == 0 ? "/" : place.substr(0, slash), true));
  std::string name = place.substr(slash + 1);
  if (directory && ::mkdirat(parent.get(), name.c_str(), 0755) < 0 && errno != EEXIST) {
    return ErrnoError("making directory '{}'", place);
  }
  if (!directory) {
    UniqueFd file(::openat(parent.get(), name.c_str(),
                           O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644));
    if (!file.valid() && errno != EEXIST) return ErrnoError("making file '{}'", place);
  }
  return OpenIn(root, place, O_PATH);
}

Result<> Place(BorrowedFd root, const PlacedMount& placed) {
  struct stat status;
  if (::fstat(placed.mount.get(), &status) != 0) return ErrnoError("looking at a mount");
  UniqueFd target = TRY(OpenPlace(root, placed.place, S_ISDIR(status.st_mode)));
  return AttachMount(placed.mount, target);
}

Result<UniqueFd> PutTogether(BorrowedFd root, const std::vector<PlacedMount>& mounts) {
  if (::unshare(CLONE_NEWNS) < 0) return ErrnoError("making a mount namespace");
  // What the host unmounts goes here too; nothing of this is seen there.
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr) < 0) {
    return ErrnoError("making mounts slaves");
  }
  UniqueFd top = TRY(OpenFile("/", O_PATH | O_DIRECTORY));
  TRY(AttachMount(root, top));
  for (const PlacedMount& placed : mounts) {
    TRY_WITH(Place(root, placed), "mounting '{}'", placed.place);
  }
  return OpenFile("/proc/thread-self/ns/mnt", O_RDONLY);
}

}  // namespace

Result<MountView> MakeMountView(UniqueFd root, std::vector<PlacedMount> mounts) {
  MountView view;
  view.name_space = TRY(InThreadOfItsOwn([&] { return PutTogether(root, mounts); }));
  view.root = std::move(root);
  return view;
}

Result<UniqueFd> CloneRootOf(BorrowedFd mount_namespace) {
  return InThreadOfItsOwn([&]() -> Result<UniqueFd> {
    if (::unshare(CLONE_FS) < 0) return ErrnoError("leaving the shared working directory");
    if (::setns(mount_namespace.get(), CLONE_NEWNS) < 0) {
      return ErrnoError("entering a mount namespace");
    }
    return CloneMount(BorrowedFd(AT_FDCWD), "/", BindKind::kBind);
  });
}

}  // namespace gantry::kernel
