// SPDX-License-Identifier: Apache-2.0
//
// `gantryd fsck [--repair] [--quick] [OPTION…]`: what the container daemon keeps below the root is
// checked by its own fsck, then what the engine keeps, a line a fault.
#pragma once

#include <string>
#include <vector>

namespace gantry::gantryd {

inline constexpr const char* kFsckCommand = "fsck";

// `arguments` are those after the command, `programs` is where gantry-containerd is. The exit code:
// 0 when everything is in order or was repaired, otherwise 1.
int RunFsck(std::vector<std::string> arguments, const std::string& programs);

}  // namespace gantry::gantryd
