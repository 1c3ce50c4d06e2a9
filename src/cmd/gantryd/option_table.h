// SPDX-License-Identifier: Apache-2.0
//
// The one table of what gantryd can be told: by a flag, by a key of daemon.json, or by both. To add
// a setting, add its member to Options or engine::Settings and one line to option_table.cc.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "cmd/gantryd/options.h"
#include "formats/json.h"

namespace gantry::gantryd {

enum class Kind {
  kSwitch,  // --debug, --debug=false; true or false in the file
  kText,
  kNumber,
  kList,  // the flag may be repeated; an array in the file
  kMap,   // the flag takes NAME=VALUE and may be repeated; an object in the file
};

struct OptionRow {
  std::string_view flag;  // long name; "": only in the file
  char letter = 0;        // -H
  std::string_view key;   // in the file; "": only a flag
  Kind kind = Kind::kText;
  std::string_view placeholder;
  std::string_view help;
  // One value as text: of a switch "true" or "false", of a map "NAME=VALUE".
  std::function<Result<>(Options*, const std::string&)> take;
  // For values of the file that are no plain text (runtimes, default-ulimits); else `take` gets
  // each.
  std::function<Result<>(Options*, const formats::Json&)> take_json;
};

const std::vector<OptionRow>& OptionTable();

// A part of it (network_rows.cc).
std::vector<OptionRow> NetworkRows();

}  // namespace gantry::gantryd
