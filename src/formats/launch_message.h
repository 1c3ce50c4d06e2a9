// SPDX-License-Identifier: Apache-2.0
//
// The head of what a container's first process says to whoever starts it: to the runtime while it
// is made, and at its gate (ROOT/ID/gate), where a message is an error and the end of the
// connection means that the program runs. The text of an error follows. Both ends are of one
// build. Pure; any thread.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "base/error.h"

namespace gantry::formats {

struct LaunchHead {
  uint8_t type;
  uint8_t kind;  // ErrorKind of an error
  int32_t error_number;
};

inline constexpr size_t kMaxLaunchMessageBytes = 4096;

// `message` has at least a head.
inline Error LaunchError(std::string_view message) {
  LaunchHead head;
  ::memcpy(&head, message.data(), sizeof head);
  return Error(static_cast<ErrorKind>(head.kind), std::string(message.substr(sizeof head)),
               head.error_number);
}

}  // namespace gantry::formats
