// SPDX-License-Identifier: Apache-2.0
//
// How a new container's process gets its namespaces: by clone3's flags, by joining, or (pid, time)
// by what the parent has set for its next child. In the parent.
//
// With a user namespace and others by path a stage is between the two: only the host's root may
// join those of the host, and what is made new has to belong to the user namespace.
//
//   parent     clone3 ──►  stage   joins all by path, the user namespace last
//                                  clone3(CLONE_PARENT | new ones) ──►  child
//              ◄── pid ──          exits
#pragma once

#include "base/error.h"
#include "base/unique_fd.h"
#include "oci/runtime_spec.h"
#include "runtime/child/plan.h"

namespace gantry::runtime {

struct NamespacePlan {
  uint64_t clone_flags = 0;
  bool new_user = false;
  bool new_pid = false;
  bool staged = false;
  UniqueFd user;  // joined by path

  bool in_user() const { return new_user || user.valid(); }
};

// Sets what is for the next child only; fills plan->joins.
Result<NamespacePlan> PlanNamespaces(const oci::Spec& spec, child::CreatePlan* plan);

// linux.timeOffsets, for the next child.
Result<> SetTimeOffsets(const oci::LinuxPlatform& platform);

// Mounts with mappings of ids: fills plan->mapped_binds and plan->mount_user_namespaces.
Result<> MapMounts(const oci::Spec& spec, const NamespacePlan& namespaces, child::CreatePlan* plan);

// The stage: returns the child's pid (it is the caller's child), never in the child, where the
// parent's end of the channel and the lock are closed.
Result<pid_t> ForkByStage(child::CreatePlan* plan, const NamespacePlan& namespaces,
                          UniqueFd* channel, UniqueFd* lock, BorrowedFd cgroup);

}  // namespace gantry::runtime
