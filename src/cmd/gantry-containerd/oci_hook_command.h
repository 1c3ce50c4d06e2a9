// SPDX-License-Identifier: Apache-2.0
//
// `gantry-containerd oci-hook -- PROGRAM ARG…`: a hook of the OCI runtime that runs another program
// with the container's facts in its arguments and environment, as `containerd oci-hook` does.
// Go templates with the functions id, bundle, rootfs, pid, status and annotation KEY; the state
// comes on standard input (runtime-spec, "POSIX-platform Hooks").
#pragma once

#include <string>
#include <vector>

#include "base/error.h"

namespace gantry::containerd {

// Becomes the program; returns only with an error.
Error RunOciHook(std::vector<std::string> arguments);

}  // namespace gantry::containerd
