// SPDX-License-Identifier: Apache-2.0
//
// Lines of resctrl's `schemata` (Documentation/filesystems/resctrl.rst): "L3:0=7f0;1=1f" has the
// resource and a value for each cache; masks are hexadecimal, bandwidths decimal. Pure; any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace gantry::formats {

struct ResctrlSchema {
  std::string resource;
  std::map<std::string, uint64_t, std::less<>> values;
};

Result<ResctrlSchema> ParseResctrlSchema(std::string_view line);
// A whole file; empty lines are left out.
Result<std::vector<ResctrlSchema>> ParseResctrlSchemata(std::string_view text);

}  // namespace gantry::formats
