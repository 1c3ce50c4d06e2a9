// SPDX-License-Identifier: Apache-2.0
//
// Sizes and durations as people read and type them, in the forms of docker's tools: "4.43MB",
// "512m", "About a minute", "1h30m". Pure; any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"

namespace gantry::formats {

// Decimal units, `digits` significant ones: 1980000 is "1.98MB" with 3.
std::string HumanSize(double bytes, int digits = 4);
// Binary units, four significant digits: 1536 is "1.5KiB".
std::string BinarySize(double bytes);
// "512m", "1.5GiB", "100": units are binary, without case. Messages as docker's.
Result<int64_t> ParseBinarySize(std::string_view text);

// "Less than a second", "4 seconds", "About an hour", "3 weeks".
std::string HumanDuration(std::chrono::nanoseconds duration);
// Go's time.ParseDuration: "300ms", "-1.5h", "2h45m".
Result<std::chrono::nanoseconds> ParseGoDuration(std::string_view text);
// Go's Duration.String: "1m30s", "1.5s", "0s".
std::string FormatGoDuration(std::chrono::nanoseconds duration);

}  // namespace gantry::formats
