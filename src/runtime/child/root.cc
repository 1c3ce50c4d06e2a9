// SPDX-License-Identifier: Apache-2.0
#include "runtime/child/root.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <map>

#include "base/text.h"
#include "kernel/mounts.h"
#include "kernel/paths.h"
#include "runtime/child/copy_up.h"
#include "runtime/child/targets.h"

namespace gantry::runtime::child {
namespace {

using kernel::BindKind;
using kernel::MountOptions;
using kernel::Scope;

using Sources = std::map<const oci::Mount*, UniqueFd>;

std::string_view Trimmed(std::string_view path) {
  while (path.size() > 1 && path.ends_with('/')) path.remove_suffix(1);
  return path;
}

bool IsBind(const oci::Mount& mount, const MountOptions& options) {
  return options.bind != BindKind::kNone || mount.type == "bind";
}

// procfs and sysfs on a link would put the kernel's files where the image wants them; masked paths
// and label writes rely on /proc being /proc (CVE-2019-19921 and its followers).
Result<Target> PlainDirectory(BorrowedFd root, const oci::Mount& mount) {
  std::string_view path = Trimmed(mount.destination);
  Result<UniqueFd> there = kernel::OpenIn(root, path.substr(path.starts_with('/') ? 1 : 0),
                                          O_PATH | O_DIRECTORY, 0, kernel::Links::kRefuse);
  if (there.ok()) return Target{std::move(there).value(), true};
  if (there.error().error_number() == ENOENT) {
    return MakeTarget(root, path, TargetKind::kDirectory);
  }
  return FailedPrecondition("mounting '{}': it must be an ordinary directory, not a link", path);
}

Result<> ApplyOptions(BorrowedFd mount_fd, const MountOptions& options) {
  TRY(kernel::SetMountAttributes(mount_fd, options.attributes, Scope::kThisMount));
  return kernel::SetMountAttributes(mount_fd, options.recursive_attributes, Scope::kWholeTree);
}

Result<UniqueFd> TakeSource(const oci::Mount& mount, const MountOptions& options) {
  // It would be the current directory.
  if (mount.source.empty()) return InvalidArgument("a bind needs a source");
  BindKind kind = options.bind == BindKind::kBind ? BindKind::kBind : BindKind::kRecursive;
  return kernel::CloneMount(BorrowedFd(), mount.source, kind);
}

// What procfs tells the container and keeps from it must not be covered, but for the files that
// lxcfs and its like imitate; runc refuses the same. Looked for where the target really is: a
// symbolic link of the image may lead there too.
Result<> CheckNotInProc(BorrowedFd root, const oci::Mount& mount, BorrowedFd target) {
  static constexpr std::string_view kImitated[] = {"/proc/cpuinfo",
                                                   "/proc/diskstats",
                                                   "/proc/loadavg",
                                                   "/proc/meminfo",
                                                   "/proc/net/dev",
                                                   "/proc/slabinfo",
                                                   "/proc/stat",
                                                   "/proc/swaps",
                                                   "/proc/uptime",
                                                   "/proc/sys/crypto/fips_enabled",
                                                   "/proc/sys/kernel/ns_last_pid"};
  Result<UniqueFd> proc = kernel::OpenIn(root, "/proc", O_PATH | O_DIRECTORY);
  struct statfs there{};
  struct stat of_proc{};
  struct stat of_target{};
  if (!proc.ok() || ::fstatfs(target.get(), &there) < 0 || there.f_type != PROC_SUPER_MAGIC ||
      ::fstat(proc->get(), &of_proc) < 0 || ::fstat(target.get(), &of_target) < 0) {
    return {};
  }
  bool other = of_proc.st_dev != of_target.st_dev;
  bool itself = of_proc.st_ino == of_target.st_ino;
  std::string path = CleanPath(mount.destination);
  bool imitated =
      std::find(std::begin(kImitated), std::end(kImitated), path) != std::end(kImitated);
  if (other || itself || imitated) return {};
  return InvalidArgument("'{}' cannot be mounted because it is inside /proc", mount.destination);
}

// `tree` is the source if it was taken already.
Result<> MountBind(BorrowedFd root, const oci::Mount& mount, const MountOptions& options,
                   UniqueFd tree) {
  if (!tree.valid()) tree = TRY(TakeSource(mount, options));
  struct stat info{};
  if (::fstat(tree.get(), &info) < 0) return ErrnoError("looking at '{}'", mount.source);
  TargetKind target_kind = S_ISDIR(info.st_mode) ? TargetKind::kDirectory : TargetKind::kFile;
  Target target = TRY(MakeTarget(root, mount.destination, target_kind));
  TRY(CheckNotInProc(root, mount, target.fd));
  TRY(ApplyOptions(tree, options));
  TRY(kernel::AttachMount(tree, target.fd));
  for (unsigned long flags : options.propagation) TRY(kernel::SetMountPropagation(tree, flags));
  return {};
}

bool HasParameter(const MountOptions& options, std::string_view name) {
  return std::any_of(options.parameters.begin(), options.parameters.end(),
                     [&](const std::string& parameter) {
                       return parameter.starts_with(name) && parameter.size() > name.size() &&
                              parameter[name.size()] == '=';
                     });
}

// SELinux's label of a file system that is made for the container; the kernel's own have theirs.
void AddLabel(const std::string& label, const oci::Mount& mount, MountOptions* options) {
  bool kernels = mount.type == "proc" || mount.type == "sysfs" || mount.type == "mqueue";
  if (!label.empty() && !kernels) options->parameters.push_back("context=" + label);
}

// A tmpfs has the mode of the directory that it covers, unless one is asked for.
Result<> FillTmpfs(BorrowedFd covered, BorrowedFd tree, const MountOptions& options) {
  // The descriptor of a mount is O_PATH.
  UniqueFd top(::openat(tree.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  struct stat info{};
  if (!top.valid() || ::fstat(covered.get(), &info) < 0) return ErrnoError("opening the tmpfs");
  if (!HasParameter(options, "mode") && ::fchmod(top.get(), info.st_mode & 07777) < 0) {
    return ErrnoError("setting the mode of the tmpfs");
  }
  if (options.copy_up) TRY_WITH(CopyUp(covered, top), "option 'tmpcopyup'");
  return {};
}

// `user_namespace`, if valid, maps the ids of its files.
Result<> MountNew(BorrowedFd root, const oci::Mount& mount, MountOptions options,
                  BorrowedFd user_namespace) {
  bool kernel_tree = mount.type == "proc" || mount.type == "sysfs";
  Target target = kernel_tree ? TRY(PlainDirectory(root, mount))
                              : TRY(MakeTarget(root, mount.destination, TargetKind::kDirectory));
  TRY(CheckNotInProc(root, mount, target.fd));
  // A read-only /dev is made so when its devices are there (FinishRoot).
  if (Trimmed(mount.destination) == "/dev") {
    options.attributes.set &= ~uint64_t{MOUNT_ATTR_RDONLY};
  }
  // What is to be filled becomes read-only afterwards.
  bool fill = mount.type == "tmpfs" && target.existed;
  uint64_t later = fill ? options.attributes.set & MOUNT_ATTR_RDONLY : 0;
  UniqueFd tree = TRY(kernel::NewMount(mount.type, mount.source, options.parameters,
                                       options.attributes.set & ~later));
  if (fill) TRY(FillTmpfs(target.fd, tree, options));
  if (user_namespace.valid()) {
    TRY(kernel::MapMountIds(tree, user_namespace, Scope::kThisMount));
  }
  options.attributes = {later, 0};
  TRY(ApplyOptions(tree, options));
  TRY(kernel::AttachMount(tree, target.fd));
  for (unsigned long flags : options.propagation) TRY(kernel::SetMountPropagation(tree, flags));
  return {};
}

Result<> Remount(BorrowedFd root, const oci::Mount& mount, const MountOptions& options) {
  UniqueFd there = TRY(kernel::OpenIn(root, mount.destination, O_PATH));
  return kernel::SetMountAttributes(there, options.attributes, Scope::kThisMount);
}

Result<> MountOne(BorrowedFd root, const oci::Mount& mount, const CreatePlan& plan, UniqueFd source,
                  BorrowedFd user_namespace) {
  MountOptions options = kernel::ParseMountOptions(mount.options);
  if (options.copy_up && mount.type != "tmpfs") {
    return InvalidArgument("option 'tmpcopyup' is for a tmpfs");
  }
  if (options.remount) return Remount(root, mount, options);
  if (IsBind(mount, options)) return MountBind(root, mount, options, std::move(source));
  if (mount.type == "cgroup" || mount.type == "cgroup2") return MountCgroups(root, mount, plan);
  if (mount.type.empty()) return InvalidArgument("mount has no type");
  AddLabel(plan.mount_label, mount, &options);
  return MountNew(root, mount, std::move(options), user_namespace);
}

// A bind that shares with the host has to be taken while the mount it comes from still does.
Result<Sources> TakeSharedSources(const oci::Spec& spec) {
  Sources sources;
  for (const oci::Mount& mount : spec.mounts) {
    MountOptions options = kernel::ParseMountOptions(mount.options);
    if (!IsBind(mount, options) || options.remount) continue;
    for (unsigned long flags : options.propagation) {
      if ((flags & MS_SHARED) == 0) continue;
      sources[&mount] = TRY_WITH(TakeSource(mount, options), "mounting '{}' to '{}'", mount.source,
                                 mount.destination);
      break;
    }
  }
  return sources;
}

// What is attached to "/" below must not reach the host.
Result<Sources> PrepareOldRoot(const oci::Spec& spec) {
  const oci::LinuxPlatform& platform = spec.platform;
  Sources sources;
  unsigned long flags = kernel::PropagationFlags(platform.rootfs_propagation);
  // What is unbindable could not be taken from there; the new root becomes so in the end.
  if (flags == 0 || (flags & MS_UNBINDABLE) != 0) flags = MS_SLAVE | MS_REC;
  if (::mount(nullptr, "/", nullptr, flags | MS_REC, nullptr) < 0) {
    return ErrnoError("changing the propagation of the host's mounts");
  }
  if ((flags & (MS_SLAVE | MS_PRIVATE)) == 0) {
    sources = TRY(TakeSharedSources(spec));
    if (::mount(nullptr, "/", nullptr, MS_PRIVATE, nullptr) < 0) {
      return ErrnoError("making '/' private");
    }
  }
  return sources;
}

Result<UniqueFd> NullDevice() {
  UniqueFd null_device(::open("/dev/null", O_PATH | O_NOFOLLOW | O_CLOEXEC));
  struct stat info{};
  if (!null_device.valid() || ::fstat(null_device.get(), &info) < 0) {
    return ErrnoError("opening '/dev/null'");
  }
  if (!S_ISCHR(info.st_mode) || info.st_rdev != makedev(1, 3)) {
    return FailedPrecondition("'/dev/null' of the host is not the null device");
  }
  return null_device;
}

}  // namespace

bool HasForeignDev(const oci::Spec& spec) {
  for (const oci::Mount& mount : spec.mounts) {
    if (Trimmed(mount.destination) != "/dev") continue;
    if (IsBind(mount, kernel::ParseMountOptions(mount.options))) return true;
  }
  return false;
}

Result<UniqueFd> PrepareRoot(CreatePlan* plan) {
  const oci::Spec& spec = *plan->spec;
  Sources sources;
  if (!plan->shares_mounts) sources = TRY(PrepareOldRoot(spec));
  UniqueFd root = std::move(plan->root_fd);
  if (!root.valid()) {
    root = TRY_WITH(kernel::CloneMount(BorrowedFd(), plan->rootfs, BindKind::kRecursive),
                    "taking the root file system");
    // A slave receives what is mounted on the host below the bundle's root.
    bool slave = (kernel::PropagationFlags(spec.platform.rootfs_propagation) & MS_SLAVE) != 0;
    TRY(kernel::SetMountPropagation(root, slave ? MS_SLAVE : MS_PRIVATE));
  }
  struct stat info{};
  if (::fstat(root.get(), &info) < 0) return ErrnoError("looking at the root");
  if (!S_ISDIR(info.st_mode)) {
    return InvalidArgument("root '{}' is not a directory", plan->rootfs);
  }
  // Mounts on one that stays detached need Linux 6.15; they end with the container's last process.
  if (!plan->shares_mounts) {
    UniqueFd slash(::open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!slash.valid()) return ErrnoError("opening '/'");
    TRY_WITH(kernel::AttachMount(root, slash), "root '{}'", plan->rootfs);
  }
  for (auto& [index, bind] : plan->mapped_binds) sources[&spec.mounts[index]] = std::move(bind);
  for (size_t i = 0; i < spec.mounts.size(); ++i) {
    const oci::Mount& mount = spec.mounts[i];
    auto mapped = plan->mount_user_namespaces.find(i);
    BorrowedFd user_namespace;
    if (mapped != plan->mount_user_namespaces.end()) user_namespace = mapped->second;
    TRY_WITH(MountOne(root, mount, *plan, std::move(sources[&mount]), user_namespace),
             "mounting '{}' to '{}'", mount.source.empty() ? mount.type : mount.source,
             mount.destination);
  }
  return root;
}

Result<> HidePaths(BorrowedFd root, const oci::LinuxPlatform& platform) {
  for (const std::string& path : platform.readonly_paths) {
    Result<UniqueFd> there = kernel::OpenIn(root, path, O_PATH);
    if (!there.ok()) {
      if (there.error().error_number() == ENOENT || there.error().error_number() == ENOTDIR) {
        continue;
      }
      return std::move(there).error().AddContext("making path read-only");
    }
    UniqueFd tree =
        TRY_WITH(kernel::CloneMount(*there, "", BindKind::kRecursive), "path '{}'", path);
    TRY_WITH(kernel::SetMountAttributes(tree, {MOUNT_ATTR_RDONLY, 0}, Scope::kThisMount),
             "path '{}'", path);
    TRY_WITH(kernel::AttachMount(tree, *there), "path '{}'", path);
  }
  UniqueFd null_device;
  UniqueFd empty;  // one read-only tmpfs, shown at each masked directory
  for (const std::string& path : platform.masked_paths) {
    Result<UniqueFd> there = kernel::OpenIn(root, path, O_PATH);
    if (!there.ok()) {
      if (there.error().error_number() == ENOENT || there.error().error_number() == ENOTDIR) {
        continue;
      }
      return std::move(there).error().AddContext("masking path");
    }
    struct stat info{};
    if (::fstat(there->get(), &info) < 0) return ErrnoError("looking at '{}'", path);
    UniqueFd cover;
    if (S_ISDIR(info.st_mode) && !empty.valid()) {
      empty = TRY(kernel::NewMount("tmpfs", "tmpfs", {"nr_inodes=1"}, MOUNT_ATTR_RDONLY));
      TRY_WITH(kernel::AttachMount(empty, *there), "masking '{}'", path);
      continue;
    }
    if (S_ISDIR(info.st_mode)) {
      cover = TRY_WITH(kernel::CloneMount(empty, "", BindKind::kBind), "masking '{}'", path);
    } else {
      if (!null_device.valid()) null_device = TRY(NullDevice());
      cover = TRY_WITH(kernel::CloneMount(null_device, "", BindKind::kBind), "masking '{}'", path);
    }
    TRY_WITH(kernel::AttachMount(cover, *there), "masking '{}'", path);
  }
  return {};
}

Result<> FinishRoot(BorrowedFd root, const CreatePlan& plan) {
  // Callers expect a working directory that the image lacks to be made, as runc does.
  const std::string& cwd = plan.process.process->cwd;
  if (cwd != "/") {
    TRY_WITH(MakeTarget(root, cwd, TargetKind::kDirectory), "making the working directory '{}'",
             cwd);
  }
  for (const oci::Mount& mount : plan.spec->mounts) {
    if (Trimmed(mount.destination) != "/dev") continue;
    MountOptions options = kernel::ParseMountOptions(mount.options);
    if ((options.attributes.set & MOUNT_ATTR_RDONLY) == 0) continue;
    UniqueFd dev = TRY(kernel::OpenIn(root, "dev", O_PATH));
    TRY(kernel::SetMountAttributes(dev, {MOUNT_ATTR_RDONLY, 0}, Scope::kThisMount));
  }
  if (!plan.spec->root->readonly) return {};
  TRY_WITH(kernel::SetMountAttributes(root, {MOUNT_ATTR_RDONLY, 0}, Scope::kThisMount),
           "making the root read-only");
  return {};
}

Result<> EnterRoot(BorrowedFd root, const CreatePlan& plan) {
  if (::fchdir(root.get()) < 0) return ErrnoError("entering the root");
  if (plan.no_pivot || plan.shares_mounts) {
    if (::chroot(".") < 0) return ErrnoError("changing the root");
  } else {
    UniqueFd old_root(::open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!old_root.valid()) return ErrnoError("opening '/'");
    // The old root ends up on top of the new one, at "." (pivot_root(2), notes), and is let go.
    if (::syscall(SYS_pivot_root, ".", ".") < 0) return ErrnoError("pivot_root");
    // With a shared root the host's mounts would be let go as well.
    TRY_WITH(kernel::SetMountPropagation(old_root, MS_SLAVE | MS_REC), "the old root");
    if (::umount2(".", MNT_DETACH) < 0) return ErrnoError("unmounting the old root");
  }
  if (::chdir("/") < 0) return ErrnoError("entering the root");
  const std::string& propagation = plan.spec->platform.rootfs_propagation;
  if (unsigned long flags = kernel::PropagationFlags(propagation)) {
    if (::mount(nullptr, "/", nullptr, flags, nullptr) < 0) {
      return ErrnoError("setting the root's propagation to '{}'", propagation);
    }
  }
  return {};
}

}  // namespace gantry::runtime::child
