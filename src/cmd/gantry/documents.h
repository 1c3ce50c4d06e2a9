// SPDX-License-Identifier: Apache-2.0
//
// Documents as `inspect` shows them: as they came, only indented; or through --format. One thread.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/error.h"

namespace gantry::cli {

// Shows the JSON text that `fetch` gives for each name. What is missing is told at the end; the
// exit code is then 1. `format`: "" indented, "json", or a template for each document.
Result<int> ShowDocuments(const std::vector<std::string>& names, const std::string& format,
                          const std::function<Result<std::string>(const std::string& name)>& fetch);

}  // namespace gantry::cli
