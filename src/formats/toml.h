// SPDX-License-Identifier: Apache-2.0
//
// TOML 1.0 documents, read into the values of formats/json.h: tables are objects in the order of
// their keys, dates and times are strings of RFC 3339, with up to six digits of a second. The only
// reader of TOML, of our own since Debian's library has undefined behaviour on malformed text.
// Nesting ends at 256 levels, as in JSON. Pure; any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "formats/json.h"

namespace gantry::formats {

// Where the keys of a table are, for errors. A key of an array of tables, or of a table in braces,
// is not listed: its array's or table's key is.
struct TomlPlaces {
  std::string key;  // "" of the document
  int line = 1;     // where the key is first
  std::vector<TomlPlaces> keys;

  // The line of the key that is reached by `path`, or of the last one on the way that is listed.
  int LineOf(std::initializer_list<std::string_view> path) const;
};

// kInvalidArgument says at which line and column.
Result<Json> ParseToml(std::string_view text, TomlPlaces* places = nullptr);

// `text` as a TOML string literal or, where it may be bare, a key.
std::string TomlString(std::string_view text);
std::string TomlKey(std::string_view key);

}  // namespace gantry::formats
