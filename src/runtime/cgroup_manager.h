// SPDX-License-Identifier: Apache-2.0
//
// A container's cgroups as its manager has them: by the file systems alone (cgroup_setup.h), or as
// a scope of systemd's, which then keeps the limits too (systemd_scope.h). Called by the verbs, in
// the parent; one thread.
//
// With cgroupfs the cgroups are there before the process, which is born in them. systemd wants a
// process to make a scope with, so there the child waits until it has been moved.
#pragma once

#include <chrono>

#include "base/error.h"
#include "oci/runtime_spec.h"
#include "runtime/operations.h"
#include "runtime/state.h"

namespace gantry::runtime {

// Fills in the state's cgroups, or its scope. Nothing is made.
Result<> ChooseContainerCgroups(const CreateOptions& options, const oci::Spec& spec,
                                ContainerState* state);

// cgroupfs: makes the cgroups and sets the limits. Without the right to (rootless), and if nothing
// was asked for, the container goes without: the state then has none.
Result<> MakeContainerCgroups(const CreateOptions& options, const oci::Spec& spec,
                              ContainerState* state);

// systemd: makes the scope of the state's process, sets the limits.
Result<> MakeContainerScope(const oci::Spec& spec, ContainerState* state);

Result<> UpdateContainerCgroups(const ContainerState& state, const oci::Resources& resources);

// What is in there has ended, or is killed.
Result<> RemoveContainerCgroups(const ContainerState& state, std::chrono::milliseconds limit);

}  // namespace gantry::runtime
