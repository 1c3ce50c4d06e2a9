// SPDX-License-Identifier: Apache-2.0
//
// Seccomp profiles in docker's form: rules that depend on capabilities, architecture and kernel
// version, resolved into the "seccomp" object of config.json. Any thread.
#pragma once

#include <set>
#include <string>
#include <string_view>

#include "base/error.h"
#include "oci/runtime_spec.h"

namespace gantry::engine {

// docker's default profile for a container with these capabilities ("CAP_…") on this machine:
// about 360 calls allowed, the rest answers EPERM, what came after the profile ENOSYS.
oci::Seccomp DefaultSeccomp(const std::set<std::string>& capabilities);

// A profile as `--security-opt seccomp=FILE` sends it (docker's JSON form: defaultAction, archMap
// or architectures, syscalls with names, action, args, includes, excludes). Errors:
// kInvalidArgument with the path of the field.
Result<oci::Seccomp> ParseSeccompProfile(std::string_view text,
                                         const std::set<std::string>& capabilities);

}  // namespace gantry::engine
