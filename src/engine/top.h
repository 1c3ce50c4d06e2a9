// SPDX-License-Identifier: Apache-2.0
//
// The processes of a container, as `docker top` shows them. Any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "engine/container.h"
#include "engine/engine.h"

namespace gantry::engine {

struct ProcessTable {
  std::vector<std::string> titles;
  std::vector<std::vector<std::string>> rows;
};

// `arguments` of ps(1): "" and "-ef" are answered from /proc, all else by the host's ps.
Result<ProcessTable> ListProcesses(Engine& engine, const ContainerRecord& record,
                                   std::string_view arguments);

// Takes apart what ps printed; keeps the rows of these processes. The last column is the rest of
// the line. Pure.
Result<ProcessTable> ParsePsOutput(std::string_view text, const std::vector<uint32_t>& pids);

}  // namespace gantry::engine
