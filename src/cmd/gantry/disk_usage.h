// SPDX-License-Identifier: Apache-2.0
//
// The long form of `system df -v`: each image, container, volume and record of the build cache.
// Pure but for the clock.
#pragma once

#include <string>

#include "base/error.h"
#include "formats/json.h"

namespace gantry::cli {

// `usage`: the answer of GET /system/df. `format`: "" as tables, "json", or a template on an object
// with Images, Containers, Volumes and BuildCache.
Result<std::string> VerboseDiskUsage(const formats::Json& usage, const std::string& format);

}  // namespace gantry::cli
