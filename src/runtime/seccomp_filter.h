// SPDX-License-Identifier: Apache-2.0
//
// From the specification's seccomp section to a classic BPF program (config-linux.md, "Seccomp").
//
// The program looks at the architecture, then finds the call's number by a binary tree over ranges
// of numbers with the same verdict, and compares arguments only where a rule has some. Calls newer
// than any that the profile names give ENOSYS instead of a default errno, as runc does, so that a
// C library falls back to what it did before. Pure; any thread.
#pragma once

#include "base/error.h"
#include "oci/runtime_spec.h"
#include "runtime/child/plan.h"

namespace gantry::runtime {

Result<child::SeccompProgram> CompileSeccomp(const oci::Seccomp& seccomp);

}  // namespace gantry::runtime
