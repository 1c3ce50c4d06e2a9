// SPDX-License-Identifier: Apache-2.0
#include "kernel/mounts.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "kernel/clone.h"
#include "kernel/spawn.h"

namespace gantry::kernel {
namespace {

// fsconfig(2) copies at most 256 bytes of a value, its NUL counted.
constexpr size_t kMaxParameterBytes = 255;

// Errors of fsconfig and fsmount wait as lines "e overlay: …" in the context's descriptor.
Error ContextError(BorrowedFd context, int error_number, const std::string& what) {
  Error error = ErrnoErrorOf(error_number, what);
  char line[512];
  for (;;) {
    ssize_t got = ::read(context.get(), line, sizeof line);
    if (got <= 2) break;
    std::string_view text(line, static_cast<size_t>(got));
    while (text.ends_with('\n')) text.remove_suffix(1);
    if (text[0] == 'e') error.AddHint(text.substr(2));
  }
  return error;
}

Result<> SetParameter(BorrowedFd context, const std::string& name, const std::string* value) {
  int result = value != nullptr
                   ? ::fsconfig(context.get(), FSCONFIG_SET_STRING, name.c_str(), value->c_str(), 0)
                   : ::fsconfig(context.get(), FSCONFIG_SET_FLAG, name.c_str(), nullptr, 0);
  if (result < 0) {
    return ContextError(
        context, errno,
        fmt::format("setting mount option '{}{}{}'", name, value ? "=" : "", value ? *value : ""));
  }
  return {};
}

// "lowerdir+" (6.5) takes one layer a call, unescaped.
Result<> SetOverlayLayers(BorrowedFd context, const std::string& value) {
  std::vector<std::string> layers = OverlayLayers(value);
  for (size_t i = 0; i < layers.size(); ++i) {
    Result<> set = SetParameter(context, "lowerdir+", &layers[i]);
    if (set.ok()) continue;
    if (i == 0 && value.size() <= kMaxParameterBytes) {
      return SetParameter(context, "lowerdir", &value);
    }
    return set;
  }
  return {};
}

Result<> Configure(BorrowedFd context, const std::string& type, const std::string& source,
                   const std::vector<std::string>& parameters) {
  if (!source.empty()) {
    std::string name = "source";
    TRY(SetParameter(context, name, &source));
  }
  for (const std::string& parameter : parameters) {
    size_t equals = parameter.find('=');
    std::string name = parameter.substr(0, equals);
    if (equals == std::string::npos) {
      TRY(SetParameter(context, name, nullptr));
      continue;
    }
    std::string value = parameter.substr(equals + 1);
    if (type == "overlay" && name == "lowerdir") {
      TRY(SetOverlayLayers(context, value));
    } else {
      TRY(SetParameter(context, name, &value));
    }
  }
  if (::fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) < 0) {
    return ContextError(context, errno, fmt::format("making a file system of type '{}'", type));
  }
  return {};
}

// For kernels whose overlay has no "lowerdir+": mount(2) takes a page of options, but needs a
// place. A child that shares memory and descriptors makes the mount in a mount namespace of its own
// and takes a detached copy.
struct OldMount {
  const char* type;
  const char* source;
  const char* data;
  unsigned long flags;
  int mount_fd = -1;
  int error_number = 0;
};

int OldMountMain(void* argument) {
  OldMount* plan = static_cast<OldMount*>(argument);
  plan->mount_fd = -1;
  if (::mount(nullptr, "/", nullptr, MS_PRIVATE | MS_REC, nullptr) == 0 &&
      ::mount(plan->source, "/", plan->type, plan->flags, plan->data) == 0) {
    // "/.." is "/" as the root directory is below the new mount; ".." of it crosses upwards.
    plan->mount_fd = ::open_tree(AT_FDCWD, "/..", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
  }
  plan->error_number = plan->mount_fd < 0 ? errno : 0;
  return 0;
}

Result<UniqueFd> NewMountByPath(const std::string& type, const std::string& source,
                                const std::vector<std::string>& parameters) {
  std::string data;
  for (const std::string& parameter : parameters) {
    if (!data.empty()) data.push_back(',');
    data.append(parameter);
  }
  OldMount plan{type.c_str(), source.c_str(), data.c_str(), 0};
  alignas(16) char stack[16 * 1024];
  int pidfd = -1;
  clone_args args{};
  args.flags = CLONE_VM | CLONE_VFORK | CLONE_FILES | CLONE_NEWNS | CLONE_PIDFD;
  args.pidfd = reinterpret_cast<uintptr_t>(&pidfd);
  args.exit_signal = SIGCHLD;
  args.stack = reinterpret_cast<uintptr_t>(stack);
  args.stack_size = sizeof stack;
  pid_t pid = CloneOnStack(&args, OldMountMain, &plan);
  if (pid < 0) return ErrnoErrorOf(-pid, "making a mount namespace");
  UniqueFd child(pidfd);
  TRY(WaitExit(child));
  if (plan.mount_fd < 0) {
    return ErrnoErrorOf(plan.error_number,
                        fmt::format("mounting a file system of type '{}'", type));
  }
  return UniqueFd(plan.mount_fd);
}

// Before 6.5 overlay's context is a string that takes any option, refuses it in the end and writes
// so into the kernel's log.
bool OverlayTakesOptionsOneByOne() {
  utsname kernel{};
  int major = 0;
  int minor = 0;
  if (::uname(&kernel) < 0 || ::sscanf(kernel.release, "%d.%d", &major, &minor) != 2) return true;
  return major > 6 || (major == 6 && minor >= 5);
}

Result<UniqueFd> NewOverlayByPath(const std::string& source,
                                  const std::vector<std::string>& parameters, uint64_t attributes) {
  UniqueFd mount = TRY(NewMountByPath("overlay", source, parameters));
  TRY(SetMountAttributes(mount, {attributes, 0}, Scope::kThisMount));
  return mount;
}

}  // namespace

Result<UniqueFd> NewMount(const std::string& type, const std::string& source,
                          const std::vector<std::string>& parameters, uint64_t attributes) {
  bool overlay = type == "overlay";
  if (overlay && !OverlayTakesOptionsOneByOne()) {
    return NewOverlayByPath(source, parameters, attributes);
  }
  UniqueFd context(::fsopen(type.c_str(), FSOPEN_CLOEXEC));
  if (!context.valid()) return ErrnoError("opening file system type '{}'", type);
  Result<> configured = Configure(context, type, source, parameters);
  if (!configured.ok()) {
    // 6.5 to 6.7 take no layer by itself.
    if (overlay) {
      Result<UniqueFd> mount = NewOverlayByPath(source, parameters, attributes);
      if (mount.ok() || mount.error().error_number() != EINVAL) return mount;
    }
    return std::move(configured).error();
  }
  UniqueFd mount(::fsmount(context.get(), FSMOUNT_CLOEXEC, static_cast<unsigned>(attributes)));
  if (!mount.valid()) {
    return ContextError(context, errno, fmt::format("mounting a file system of type '{}'", type));
  }
  return mount;
}

std::vector<std::string> OverlayLayers(std::string_view lowerdir) {
  std::vector<std::string> layers(1);
  for (size_t i = 0; i < lowerdir.size(); ++i) {
    if (lowerdir[i] == '\\' && i + 1 < lowerdir.size()) {
      layers.back().push_back(lowerdir[++i]);
    } else if (lowerdir[i] == ':') {
      layers.emplace_back();
    } else {
      layers.back().push_back(lowerdir[i]);
    }
  }
  return layers;
}

Result<UniqueFd> CloneMount(BorrowedFd directory, const std::string& path, BindKind kind) {
  unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC;
  if (path.empty()) flags |= AT_EMPTY_PATH;
  if (kind == BindKind::kRecursive) flags |= AT_RECURSIVE;
  int at = directory.valid() ? directory.get() : AT_FDCWD;
  UniqueFd mount(::open_tree(at, path.c_str(), flags));
  if (!mount.valid()) return ErrnoError("taking the mount of '{}'", path);
  return mount;
}

Result<> SetMountAttributes(BorrowedFd mount, MountAttributes attributes, Scope scope) {
  if (attributes.empty()) return {};
  struct mount_attr request{};
  request.attr_set = attributes.set;
  request.attr_clr = attributes.clear;
  unsigned flags = AT_EMPTY_PATH | (scope == Scope::kWholeTree ? AT_RECURSIVE : 0);
  if (::mount_setattr(mount.get(), "", flags, &request, sizeof request) < 0) {
    return ErrnoError("setting mount attributes");
  }
  return {};
}

Result<> SetMountPropagation(BorrowedFd mount, unsigned long flags) {
  struct mount_attr request{};
  request.propagation = flags & ~static_cast<unsigned long>(MS_REC);
  unsigned at = AT_EMPTY_PATH | ((flags & MS_REC) != 0 ? AT_RECURSIVE : 0);
  if (::mount_setattr(mount.get(), "", at, &request, sizeof request) < 0) {
    return ErrnoError("setting mount propagation");
  }
  return {};
}

Result<> MapMountIds(BorrowedFd mount, BorrowedFd user_namespace, Scope scope) {
  struct mount_attr request{};
  request.attr_set = MOUNT_ATTR_IDMAP;
  request.userns_fd = static_cast<uint64_t>(user_namespace.get());
  unsigned flags = AT_EMPTY_PATH | (scope == Scope::kWholeTree ? AT_RECURSIVE : 0);
  if (::mount_setattr(mount.get(), "", flags, &request, sizeof request) < 0) {
    return ErrnoError("mapping the ids of a mount");
  }
  return {};
}

Result<> AttachMount(BorrowedFd mount, BorrowedFd target) {
  if (::move_mount(mount.get(), "", target.get(), "",
                   MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0) {
    return ErrnoError("attaching a mount");
  }
  return {};
}

Result<bool> IsMountPoint(const std::string& path) {
  struct statx status{};
  if (::statx(AT_FDCWD, path.c_str(), AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, 0, &status) < 0) {
    if (errno == ENOENT) return false;
    return ErrnoError("looking at '{}'", path);
  }
  return (status.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
}

Result<> UnmountAll(const std::string& path) {
  while (::umount2(path.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) == 0) {
  }
  // EINVAL: it is no mount point (any more).
  if (errno == EINVAL || errno == ENOENT) return {};
  return ErrnoError("unmounting '{}'", path);
}

Result<UniqueFd> MountDetached(const std::string& type, const std::string& source,
                               const std::vector<std::string>& options) {
  MountOptions parsed = ParseMountOptions(options);
  BindKind bind = parsed.bind;
  if (bind == BindKind::kNone && type == "bind") bind = BindKind::kRecursive;
  UniqueFd mount;
  if (bind != BindKind::kNone) {
    mount = TRY(CloneMount(BorrowedFd(), source, bind));
    TRY_WITH(SetMountAttributes(mount, parsed.attributes, Scope::kThisMount), "mount of '{}'",
             source);
  } else {
    mount = TRY_WITH(NewMount(type, source, parsed.parameters, parsed.attributes.set),
                     "mounting '{}'", source);
  }
  TRY_WITH(SetMountAttributes(mount, parsed.recursive_attributes, Scope::kWholeTree),
           "mount of '{}'", source);
  for (unsigned long flags : parsed.propagation) TRY(SetMountPropagation(mount, flags));
  return mount;
}

}  // namespace gantry::kernel
