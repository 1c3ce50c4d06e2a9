// SPDX-License-Identifier: Apache-2.0
//
// What a mount of LLB asks for beside the files of an input: caches, memory, secrets, agents. Pure;
// any thread.
#pragma once

#include "build/step_mounts.h"
#include "moby/buildkit/ops.pb.h"

namespace gantry::llb {

// `out` has its target, and where the mount has files its tree. `agents`: of the command so far.
void PlanOwnMount(const pb::Mount& mount, bool has_files, int* agents, build::PlannedMount* out);

}  // namespace gantry::llb
