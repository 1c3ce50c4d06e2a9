// SPDX-License-Identifier: Apache-2.0
//
// A container's root file system, made from the mounts that Create brings (docs/root-handover.md):
// a detached mount for our own runtime, or BUNDLE/rootfs in a mount namespace of the shim's own for
// any other. One thread.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"
#include "containerd/types/mount.plain.h"

namespace gantry::shim {

enum class RootHandover { kDescriptor, kPath };

class ContainerRoot {
 public:
  // Without mounts there is nothing to hand over: the runtime uses config.json's root.path.
  static Result<ContainerRoot> Make(const std::vector<plain::containerd::types::Mount>& mounts,
                                    const std::string& bundle, RootHandover how);
  ContainerRoot() = default;
  ContainerRoot(ContainerRoot&&) noexcept = default;
  ContainerRoot& operator=(ContainerRoot&& other) noexcept;
  ~ContainerRoot() { Release(); }

  // The detached mount, or invalid when the root is at a path.
  BorrowedFd descriptor() const { return mount_; }
  // Gives the root up. Dropping the last reference to an overlay can take many milliseconds, so a
  // forked child does that.
  void Release();

 private:
  std::string path_;  // where it is mounted; empty: nowhere
  UniqueFd mount_;
  UniqueFd upper_lock_;  // flock on the upper directory, until the mount is gone
};

}  // namespace gantry::shim
