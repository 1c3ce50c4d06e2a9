// SPDX-License-Identifier: Apache-2.0
//
// The documents of images that several answers have: lists, system df. Any thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/image_usage.h"
#include "formats/json.h"

namespace gantry::engine::api {

// One entry of GET /images/json; `shared`: -1 where nobody asked.
formats::Json ImageSummary(const ImageUsage& image, int64_t shared);
// [] and not null for none.
formats::Json StringsOrEmpty(const std::vector<std::string>& strings);
// "Manifests": each platform's image of the target and what is attached to one.
Result<formats::Json> ManifestsJson(Engine& engine, const client::Descriptor& target);

}  // namespace gantry::engine::api
