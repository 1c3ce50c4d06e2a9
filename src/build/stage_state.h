// SPDX-License-Identifier: Apache-2.0
//
// What a stage of a build has come to: an image that is not written yet. Plain data.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "client/containerd.h"
#include "engine/config.h"
#include "engine/engine.h"
#include "engine/new_image.h"
#include "formats/json.h"
#include "oci/platform.h"

namespace gantry::build {

// PATH where an image says none.
inline constexpr const char* kDefaultPath =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

struct StageState {
  std::optional<engine::NamedImage> base;  // nothing: scratch
  formats::Json document;                  // of the base; all but what is below is kept
  oci::Platform platform;
  engine::ContainerConfig config;
  std::string author;
  std::vector<client::Descriptor> layers;  // the base's first
  std::vector<std::string> diff_ids;
  std::string chain_id;  // of the last layer's snapshot
  formats::Json history;
  std::string created;
  std::string cache_key;
  std::string image_id;
  bool changed = false;  // it is more than its base
};

// The sha256 of a text as 64 hexadecimal digits.
std::string HexDigest(std::string_view text);

StageState StateOfImage(engine::NamedImage image);
StageState StateOfScratch(const oci::Platform& platform = oci::HostPlatform());

// One more step: an entry of the history and, when files have changed, a layer. Sets image_id.
void AddStep(const std::string& created_by, const std::string& created,
             const std::optional<engine::NewLayer>& layer, StageState* state);

// The image's configuration as it is written.
formats::Json DocumentOf(const StageState& state);

}  // namespace gantry::build
