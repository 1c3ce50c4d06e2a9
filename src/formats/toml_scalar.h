// SPDX-License-Identifier: Apache-2.0
//
// The values of TOML that are one word: numbers, booleans, dates and times. For formats/toml.cc.
// Pure; any thread.
#pragma once

#include <string_view>

#include "base/error.h"
#include "formats/json.h"

namespace gantry::formats {

// `word` is all of the value: "0x1F", "1_000.5", "true", "1979-05-27 07:32:00Z".
Result<Json> ParseTomlScalar(std::string_view word);

}  // namespace gantry::formats
