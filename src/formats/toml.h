// SPDX-License-Identifier: Apache-2.0
//
// TOML 1.0 documents, read into the values of formats/json.h: tables are objects in the order of
// their keys, dates and times are strings. The one wrapper of the TOML library. Pure; any thread.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"
#include "formats/json.h"

namespace gantry::formats {

// kInvalidArgument says at which line and column.
Result<Json> ParseToml(std::string_view text);

// `text` as a TOML string literal or, where it may be bare, a key.
std::string TomlString(std::string_view text);
std::string TomlKey(std::string_view key);

}  // namespace gantry::formats
