// SPDX-License-Identifier: Apache-2.0
//
// The URI that tells our shim where a process's output goes (docs/shim-io.md), from a container's
// log options. Pure.
#pragma once

#include <cstdint>
#include <string>

#include "base/error.h"
#include "engine/container.h"

namespace gantry::engine {

struct StdioUri {
  std::string socket;         // absolute path of the attach socket
  std::string log;            // absolute path; "" for no log
  int64_t log_max_size = -1;  // bytes in one file; -1: never rotated
  int64_t log_max_file = 1;
  bool log_compress = false;
  std::string log_attributes;       // a JSON object, or nothing
  std::string stdin_mode = "none";  // "once" or "open"

  std::string Format() const;
};

// The URI of a container's init. kInvalidArgument for log options that make no sense.
Result<StdioUri> MakeStdioUri(const ContainerRecord& record, std::string socket, std::string log);

}  // namespace gantry::engine
