// SPDX-License-Identifier: Apache-2.0
//
// --since and --until: "10m" ago, "2026-11-22", "2026-11-22T05:00:00Z", or Unix seconds. Any
// thread.
#pragma once

#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/error.h"

namespace gantry::cli {

// "1763787600.000000000": what the Engine API takes. Times without a zone are local.
Result<std::string> ParseTimeSpec(std::string_view text, WallTime now);

}  // namespace gantry::cli
