// SPDX-License-Identifier: Apache-2.0
//
// images --tree: each image with what it has for each platform below it. Pure.
#pragma once

#include <string>

#include "formats/json.h"

namespace gantry::cli {

// Of the answer to GET /images/json?manifests=1.
std::string ImageTree(const formats::Json& images);

}  // namespace gantry::cli
