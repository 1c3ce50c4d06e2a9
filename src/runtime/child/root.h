// SPDX-License-Identifier: Apache-2.0
//
// The container's file system: its root, mounts, devices, masked and read-only paths, and the
// change into it. Runs in the child, in its own mount namespace, before pivot_root: all by
// descriptors of the new root, which is attached on top of "/" where only this namespace sees it.
#pragma once

#include "base/error.h"
#include "base/unique_fd.h"
#include "runtime/child/plan.h"

namespace gantry::runtime::child {

// Attaches the root and all mounts of the specification; returns the root's descriptor.
Result<UniqueFd> PrepareRoot(CreatePlan* plan);
// Device nodes and links in /dev (devices.cc).
Result<> MakeDevices(BorrowedFd root, const CreatePlan& plan);
// One mount of type "cgroup" or "cgroup2" (cgroup_mount.cc).
Result<> MountCgroups(BorrowedFd root, const oci::Mount& mount, const CreatePlan& plan);
// Covers maskedPaths, makes readonlyPaths read-only.
Result<> HidePaths(BorrowedFd root, const oci::LinuxPlatform& platform);
// After everything that writes to the root: read-only, if it is to be.
Result<> FinishRoot(BorrowedFd root, const CreatePlan& plan);
// pivot_root(2), or chroot(2) with --no-pivot; then the root's propagation.
Result<> EnterRoot(BorrowedFd root, const CreatePlan& plan);

// True if the specification brings a /dev of its own by a bind mount: nothing is made there then.
bool HasForeignDev(const oci::Spec& spec);

}  // namespace gantry::runtime::child
