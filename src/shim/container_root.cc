// SPDX-License-Identifier: Apache-2.0
#include "shim/container_root.h"

#include <fcntl.h>
#include <linux/stat.h>
#include <sched.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/io.h"
#include "base/log.h"
#include "kernel/mapped_mount.h"
#include "kernel/mounts.h"
#include "kernel/paths.h"

namespace gantry::shim {
namespace {

using plain::containerd::types::Mount;

constexpr unsigned kLockSeconds = 10;

std::string OptionValue(const Mount& mount, std::string_view name) {
  for (const std::string& option : mount.options) {
    if (option.starts_with(name) && option.size() > name.size() && option[name.size()] == '=') {
      return option.substr(name.size() + 1);
    }
  }
  return "";
}

bool HasOption(const Mount& mount, std::string_view name) {
  for (const std::string& option : mount.options) {
    if (option == name) return true;
  }
  return false;
}

// The reaper of a container that ran on the same upper directory may still be unmounting it; it
// holds this lock. SIGALRM bounds the wait.
Result<UniqueFd> LockUpper(const std::string& upper) {
  UniqueFd fd = TRY(OpenFile(upper, O_RDONLY | O_DIRECTORY));
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) == 0) return fd;
  struct sigaction action{};
  action.sa_handler = [](int) {};
  struct sigaction old{};
  ::sigaction(SIGALRM, &action, &old);
  ::alarm(kLockSeconds);
  int locked = ::flock(fd.get(), LOCK_EX);
  int error = errno;
  ::alarm(0);
  ::sigaction(SIGALRM, &old, nullptr);
  if (locked == 0) return fd;
  if (error == EINTR) {
    return Unavailable("mounting the root: '{}' is still in use by an earlier container", upper);
  }
  return ErrnoErrorOf(error, fmt::format("locking '{}'", upper));
}

// A volatile upper may be mounted again only when this mark of its last mount is gone. What the
// mark warns of, a crash of the machine in between, is accepted by whoever asks for volatile.
Result<> RemoveVolatileMark(const Mount& mount) {
  std::string work = OptionValue(mount, "workdir");
  if (work.empty() || !HasOption(mount, "volatile")) return {};
  std::string incompat = work + "/work/incompat";
  if (!PathExists(incompat + "/volatile")) return {};
  UniqueFd directory = TRY(OpenFile(incompat, O_PATH | O_DIRECTORY));
  return kernel::RemoveTreeAt(directory, "volatile");
}

Result<uint64_t> MountIdOf(const std::string& path) {
  struct statx info{};
  if (::statx(AT_FDCWD, path.c_str(), AT_SYMLINK_NOFOLLOW, STATX_MNT_ID, &info) < 0) {
    return ErrnoError("looking at '{}'", path);
  }
  return info.stx_mnt_id;
}

// A mount namespace of our own, in which what is mounted below the bundle stays with us: the mount
// that the bundle lies on gets no way back to the host. All others keep their propagation.
Result<> EnterPrivateMounts(const std::string& bundle) {
  if (::unshare(CLONE_NEWNS) < 0) return ErrnoError("making a mount namespace");
  std::string top = bundle;
  uint64_t id = TRY(MountIdOf(bundle));
  while (top != "/") {
    size_t slash = top.rfind('/');
    std::string parent = slash == 0 ? "/" : top.substr(0, slash);
    if (TRY(MountIdOf(parent)) != id) break;
    top = parent;
  }
  if (::mount(nullptr, top.c_str(), nullptr, MS_SLAVE, nullptr) < 0) {
    return ErrnoError("keeping mounts below '{}' to ourselves", top);
  }
  if (::chdir(bundle.c_str()) < 0) return ErrnoError("going back to '{}'", bundle);
  return {};
}

// "0:100000:65536,…" as lines of /proc/PID/uid_map.
std::string MapLines(std::string text) {
  std::replace(text.begin(), text.end(), ':', ' ');
  std::replace(text.begin(), text.end(), ',', '\n');
  return text + "\n";
}

// containerd's options uidmap= and gidmap= are no file system's: its files are to be seen with
// other owners than they have.
Result<UniqueFd> MountOne(const Mount& mount) {
  std::string uids = OptionValue(mount, "uidmap");
  std::string gids = OptionValue(mount, "gidmap");
  // A bind belongs to the peer group of its source, as hosts with systemd have them; pivot_root(2)
  // takes no such root.
  std::vector<std::string> options = mount.options;
  options.emplace_back("rprivate");
  if (uids.empty() || gids.empty()) {
    return TRY_WITH(kernel::MountDetached(mount.type, mount.source, options), "mounting the root");
  }
  std::erase_if(options, [](const std::string& option) {
    return option.starts_with("uidmap=") || option.starts_with("gidmap=");
  });
  return TRY_WITH(
      kernel::MountMapped(mount.type, mount.source, options, {MapLines(uids), MapLines(gids)}),
      "mounting the root with mapped ids");
}

Result<> MountAtPath(const std::vector<Mount>& mounts, const std::string& path) {
  TRY(MakeDirectories(path, 0711));
  for (const Mount& mount : mounts) {
    UniqueFd detached = TRY(MountOne(mount));
    UniqueFd root = TRY(kernel::OpenRoot(path));
    UniqueFd target = TRY(kernel::OpenIn(root, mount.target, O_PATH));
    TRY(kernel::AttachMount(detached, target));
  }
  return {};
}

}  // namespace

Result<ContainerRoot> ContainerRoot::Make(const std::vector<Mount>& mounts,
                                          const std::string& bundle, RootHandover how) {
  ContainerRoot root;
  if (mounts.empty()) return root;
  for (const Mount& mount : mounts) {
    TRY(RemoveVolatileMark(mount));
    std::string upper = OptionValue(mount, "upperdir");
    if (!upper.empty() && !root.upper_lock_.valid()) root.upper_lock_ = TRY(LockUpper(upper));
  }
  // A tree of several mounts can be put together at a path only (before Linux 6.15).
  if (how == RootHandover::kDescriptor && mounts.size() == 1 && mounts[0].target.empty()) {
    root.mount_ = TRY(MountOne(mounts[0]));
    return root;
  }
  TRY(EnterPrivateMounts(bundle));
  root.path_ = bundle + "/rootfs";
  TRY(MountAtPath(mounts, root.path_));
  return root;
}

ContainerRoot& ContainerRoot::operator=(ContainerRoot&& other) noexcept {
  if (this == &other) return *this;
  Release();
  path_ = std::exchange(other.path_, {});
  mount_ = std::move(other.mount_);
  upper_lock_ = std::move(other.upper_lock_);
  return *this;
}

void ContainerRoot::Release() {
  if (path_.empty() && !mount_.valid()) return;
  pid_t child = ::fork();
  if (child < 0) log::Warning("{}", ErrnoError("starting the root's reaper").message());
  if (child == 0) {
    // The parent's copy must go first, or the last reference would be dropped there. The lock goes
    // with our exit.
    mount_.Reset();
    if (!path_.empty()) ::umount2(path_.c_str(), MNT_DETACH);
    ::_exit(0);
  }
  mount_.Reset();
  path_.clear();
  upper_lock_.Reset();
}

}  // namespace gantry::shim
