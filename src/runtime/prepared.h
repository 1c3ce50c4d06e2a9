// SPDX-License-Identifier: Apache-2.0
//
// ROOT/ID/prepared: what an `exec` needs of a container's config.json, ready to use: the members
// that hold for all of its processes, and the seccomp program as `create` has compiled it. Written
// by `create` and `run`, read by `exec`; thrown away with the directory. It only saves time: what
// is missing, cut off, damaged, another container's, another version's or another machine's is
// passed over, and config.json is read and compiled as before.
//
// The directory is root's alone (0700), as that of config.json is, so the checksum is against
// accidents, not against an enemy.
//
//   "gantry prepared\n"  fixed, 16 bytes
//   u64                  FNV-1a of all that follows
//   u32, u32             size of the JSON text, of the program, in bytes; machine's byte order
//   JSON                 who wrote it and for whom, the settings, seccomp's flags and listener
//   sock_filter[]
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "oci/runtime_spec.h"
#include "runtime/child/plan.h"
#include "runtime/state.h"

namespace gantry::runtime {

struct Prepared {
  // process; of "linux" what concerns every process: personality and memoryPolicy.
  oci::Spec spec;
  child::SeccompProgram seccomp;  // without a listener's socket
};

// `spec` as the bundle has it; of the state, id and creation say whose it is.
std::string EncodePrepared(const oci::Spec& spec, const child::SeccompProgram& seccomp,
                           const ContainerState& state);
// Nothing: not to be used.
std::optional<Prepared> DecodePrepared(std::string_view file, const ContainerState& state);

// From the file, else from config.json.
Result<Prepared> LoadPrepared(const StateDirectory& directory, const ContainerState& state);

}  // namespace gantry::runtime
