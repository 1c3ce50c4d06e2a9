// SPDX-License-Identifier: Apache-2.0
//
// MakeDevices of root.h: runtime-spec config-linux.md, "Default Devices" and "Devices".
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "kernel/mounts.h"
#include "kernel/paths.h"
#include "runtime/child/root.h"
#include "runtime/child/targets.h"

namespace gantry::runtime::child {
namespace {

struct Link {
  const char* name;
  const char* target;
};

constexpr Link kLinks[] = {{"fd", "/proc/self/fd"},
                           {"stdin", "/proc/self/fd/0"},
                           {"stdout", "/proc/self/fd/1"},
                           {"stderr", "/proc/self/fd/2"},
                           {"ptmx", "pts/ptmx"}};

constexpr unsigned kDefaults[][2] = {{1, 3}, {1, 5}, {1, 7}, {1, 8}, {1, 9}, {5, 0}};
constexpr const char* kDefaultNames[] = {"null", "zero", "full", "random", "urandom", "tty"};

mode_t TypeOf(const oci::Device& device) {
  if (device.type == "b") return S_IFBLK;
  if (device.type == "p") return S_IFIFO;
  return S_IFCHR;
}

bool IsThisDevice(const struct stat& info, mode_t type, dev_t number) {
  if ((info.st_mode & S_IFMT) != type) return false;
  return type == S_IFIFO || info.st_rdev == number;
}

// A user namespace may not make nodes, so the host's node of the same name is bound, if it is what
// it should be.
Result<> BindDevice(BorrowedFd parent, const std::string& name, const oci::Device& device,
                    dev_t number) {
  UniqueFd host(::open(device.path.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  struct stat info{};
  if (!host.valid() || ::fstat(host.get(), &info) < 0) {
    return ErrnoError("opening the host's '{}'", device.path);
  }
  if (!IsThisDevice(info, TypeOf(device), number)) {
    return FailedPrecondition("the host's '{}' is another device", device.path);
  }
  Target target = TRY(MakeTarget(parent, name, TargetKind::kFile));
  UniqueFd node = TRY(kernel::CloneMount(host, "", kernel::BindKind::kBind));
  return kernel::AttachMount(node, target.fd);
}

Result<> MakeNode(BorrowedFd parent, const std::string& name, const oci::Device& device,
                  bool user_namespace) {
  mode_t type = TypeOf(device);
  dev_t number = makedev(static_cast<unsigned>(device.major), static_cast<unsigned>(device.minor));
  if (user_namespace && type != S_IFIFO) return BindDevice(parent, name, device, number);
  mode_t mode = device.file_mode.value_or(0666) & 07777;
  if (::mknodat(parent.get(), name.c_str(), type | mode, number) < 0) {
    if (errno == EPERM) return BindDevice(parent, name, device, number);
    if (errno != EEXIST) return ErrnoError("making device '{}'", device.path);
    struct stat info{};
    if (::fstatat(parent.get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) < 0) {
      return ErrnoError("looking at device '{}'", device.path);
    }
    if (!IsThisDevice(info, type, number)) {
      return FailedPrecondition("making device '{}': something else is there", device.path);
    }
    return {};
  }
  if ((device.uid.value_or(0) != 0 || device.gid.value_or(0) != 0) &&
      ::fchownat(parent.get(), name.c_str(), device.uid.value_or(0), device.gid.value_or(0),
                 AT_SYMLINK_NOFOLLOW) < 0) {
    return ErrnoError("giving device '{}' its owner", device.path);
  }
  return {};
}

Result<> MakeSpecDevice(BorrowedFd root, const oci::Device& device, bool user_namespace) {
  size_t slash = device.path.rfind('/');
  std::string directory = device.path.substr(0, slash + 1);
  std::string name = device.path.substr(slash + 1);
  if (name.empty() || name == "." || name == "..") {
    return InvalidArgument("making device '{}': not a file's name", device.path);
  }
  Target parent = TRY(MakeTarget(root, directory, TargetKind::kDirectory));
  return MakeNode(parent.fd, name, device, user_namespace);
}

}  // namespace

Result<> MakeDevices(BorrowedFd root, const CreatePlan& plan) {
  if (HasForeignDev(*plan.spec)) return {};
  Result<UniqueFd> dev =
      kernel::OpenIn(root, "dev", O_PATH | O_DIRECTORY, 0, kernel::Links::kRefuse);
  if (!dev.ok()) {
    if (dev.error().error_number() == ELOOP) {
      return FailedPrecondition("making devices: '/dev' must be an ordinary directory, not a link");
    }
    Target made = TRY(MakeTarget(root, "dev", TargetKind::kDirectory));
    dev = std::move(made.fd);
  }
  bool user_namespace = plan.process.in_user_namespace;
  for (size_t i = 0; i < std::size(kDefaults); ++i) {
    oci::Device device;
    device.path = std::string("/dev/") + kDefaultNames[i];
    device.type = "c";
    device.major = kDefaults[i][0];
    device.minor = kDefaults[i][1];
    TRY(MakeNode(*dev, kDefaultNames[i], device, user_namespace));
  }
  for (const oci::Device& device : plan.spec->platform.devices) {
    TRY(MakeSpecDevice(root, device, user_namespace));
  }
  for (const Link& link : kLinks) {
    if (std::string_view(link.name) == "ptmx") (void)::unlinkat(dev->get(), link.name, 0);
    if (::symlinkat(link.target, dev->get(), link.name) < 0 && errno != EEXIST) {
      return ErrnoError("making link '/dev/{}'", link.name);
    }
  }
  if (::access("/proc/kcore", F_OK) == 0 && ::symlinkat("/proc/kcore", dev->get(), "core") < 0 &&
      errno != EEXIST) {
    return ErrnoError("making link '/dev/core'");
  }
  return {};
}

}  // namespace gantry::runtime::child
