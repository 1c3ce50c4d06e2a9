// SPDX-License-Identifier: Apache-2.0
//
// Times: WallClock for records and users (UTC, nanoseconds since 1970), SteadyClock for waits.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "base/error.h"

namespace gantry {

using WallClock = std::chrono::system_clock;
using WallTime = std::chrono::time_point<WallClock, std::chrono::nanoseconds>;
using SteadyClock = std::chrono::steady_clock;

inline int64_t UnixNanos(WallTime time) { return time.time_since_epoch().count(); }
inline WallTime FromUnixNanos(int64_t nanos) { return WallTime(std::chrono::nanoseconds(nanos)); }

// "2026-11-22T05:00:00.123456789Z", as Go's RFC3339Nano: trailing zeros of the fraction are cut.
std::string FormatRfc3339Nano(WallTime time);
// The same with all nine digits, as docker's log files have it.
std::string FormatRfc3339Fixed(WallTime time);
// Reads RFC 3339 with any fraction and offset (RFC 3339 section 5.6). A time that 64 bits of
// nanoseconds don't reach (before 1678, after 2261; Go's zero time) becomes the first or last.
Result<WallTime> ParseRfc3339(std::string_view text);

}  // namespace gantry
