// SPDX-License-Identifier: Apache-2.0
//
// The steps of a start, of this program and of the daemons, one below the other on one scale. Pure;
// any thread.
#pragma once

#include <string>
#include <vector>

#include "base/start_trace.h"

namespace gantry::cli {

// `columns`: of the bars. In the order in which they begin; times are milliseconds since the first
// step.
std::string Waterfall(std::vector<TraceStep> steps, size_t columns = 40);

}  // namespace gantry::cli
