// SPDX-License-Identifier: Apache-2.0
//
// MountCgroups of root.h. v2: the container's own cgroup appears as the whole hierarchy. v1: a
// tmpfs with a bind of the container's directory for each hierarchy, as on the host.
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <set>

#include "kernel/cgroups.h"
#include "kernel/mounts.h"
#include "runtime/child/root.h"
#include "runtime/child/targets.h"

namespace gantry::runtime::child {
namespace {

using kernel::BindKind;
using kernel::MountOptions;
using kernel::Scope;

Result<> MountUnified(BorrowedFd target, const MountOptions& options, const CreatePlan& plan) {
  UniqueFd tree;
  if (plan.unshare_cgroup_namespace) {
    Result<UniqueFd> made =
        kernel::NewMount("cgroup2", "cgroup", options.parameters, options.attributes.set);
    if (made.ok()) tree = std::move(made).value();
  }
  if (!tree.valid()) {
    // Also where a user namespace may not mount cgroup2.
    auto own = plan.cgroups.find("");
    if (own == plan.cgroups.end()) return FailedPrecondition("the container has no cgroup");
    tree = TRY(kernel::CloneMount(BorrowedFd(), own->second, BindKind::kBind));
    TRY(kernel::SetMountAttributes(tree, options.attributes, Scope::kThisMount));
  }
  return kernel::AttachMount(tree, target);
}

Result<> BindHierarchy(BorrowedFd top, const std::string& directory, const std::string& name,
                       const MountOptions& options) {
  if (::mkdirat(top.get(), name.c_str(), 0755) < 0 && errno != EEXIST) {
    return ErrnoError("making directory '{}'", name);
  }
  UniqueFd target(::openat(top.get(), name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  if (!target.valid()) return ErrnoError("opening '{}'", name);
  UniqueFd tree = TRY(kernel::CloneMount(BorrowedFd(), directory, BindKind::kBind));
  TRY(kernel::SetMountAttributes(tree, options.attributes, Scope::kThisMount));
  return kernel::AttachMount(tree, target);
}

}  // namespace

Result<> MountCgroups(BorrowedFd root, const oci::Mount& mount, const CreatePlan& plan) {
  Target target = TRY(MakeTarget(root, mount.destination, TargetKind::kDirectory));
  MountOptions options = kernel::ParseMountOptions(mount.options);
  // Else it could change the limits of the caller, whose cgroup it shares (CVE-2023-25809).
  if (!plan.own_cgroups) options.attributes.set |= MOUNT_ATTR_RDONLY;
  if (plan.cgroup_unified) return MountUnified(target.fd, options, plan);
  if (mount.type == "cgroup2") {
    return FailedPrecondition("this host's cgroups are version 1");
  }
  uint64_t attributes = options.attributes.set & ~uint64_t{MOUNT_ATTR_RDONLY};
  UniqueFd top = TRY(kernel::NewMount("tmpfs", "tmpfs", {"mode=755"}, attributes));
  // What is attached below a detached root takes no attributes any more, and before Linux 6.15
  // nothing can be attached to what is detached itself.
  if (!plan.shares_mounts) TRY(kernel::AttachMount(top, target.fd));
  std::set<std::string> done;
  for (const auto& [controller, directory] : plan.cgroups) {
    // /sys/fs/cgroup/NAME/…: NAME is also the name inside; another controller of the same hierarchy
    // becomes a link to it.
    std::string_view below = std::string_view(directory).substr(sizeof kernel::kCgroupRoot);
    std::string name(below.substr(0, below.find('/')));
    if (done.insert(name).second) TRY(BindHierarchy(top, directory, name, options));
    std::string alias = controller.starts_with("name=") ? controller.substr(5) : controller;
    if (alias != name && ::symlinkat(name.c_str(), top.get(), alias.c_str()) < 0 &&
        errno != EEXIST) {
      return ErrnoError("making link '{}'", alias);
    }
  }
  if ((options.attributes.set & MOUNT_ATTR_RDONLY) != 0) {
    TRY(kernel::SetMountAttributes(top, {MOUNT_ATTR_RDONLY, 0}, Scope::kThisMount));
  }
  return plan.shares_mounts ? kernel::AttachMount(top, target.fd) : Result<>();
}

}  // namespace gantry::runtime::child
