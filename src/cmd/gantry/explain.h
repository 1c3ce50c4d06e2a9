// SPDX-License-Identifier: Apache-2.0
//
// What `gantry explain` shows of the answer to GET /containers/{id}/explain. Pure; any thread.
#pragma once

#include <string>

#include "formats/json.h"

namespace gantry::cli {

// One page of text.
std::string ExplainAsText(const formats::Json& page);
// The same as a picture: boxes from the engine down to the layers.
std::string ExplainAsSvg(const formats::Json& page);

// "32MiB of 64MiB", "32MiB, no limit".
std::string UseOf(double used, double limit);

}  // namespace gantry::cli
