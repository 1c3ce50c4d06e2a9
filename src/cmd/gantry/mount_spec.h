// SPDX-License-Identifier: Apache-2.0
//
// -v and --mount as docker's users write them, to what the Engine API takes. Relative paths of the
// host are taken from the working directory. Any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "formats/json.h"

namespace gantry::cli {

// "/path" goes to Volumes (an anonymous volume), "source:/path[:options]" to Binds.
Result<> AddVolume(const std::string& spec, formats::Json* volumes, formats::Json* binds);

// "type=bind,source=/a,target=/b,readonly" to a Mount object. Fields are separated as in CSV.
Result<formats::Json> ParseMount(const std::string& spec);

// Fields of one CSV line (RFC 4180): quoted ones may hold commas.
Result<std::vector<std::string>> SplitCsv(std::string_view line);

}  // namespace gantry::cli
