// SPDX-License-Identifier: Apache-2.0
//
// What an image is made of, one entry a platform or attestation, and which of it is here. Any
// thread.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "base/error.h"
#include "engine/engine.h"
#include "engine/image_index.h"
#include "oci/image_spec.h"

namespace gantry::engine {

struct PlatformImage {
  oci::Descriptor descriptor;
  bool attestation = false;
  std::shared_ptr<const ImageDocuments> documents;  // null: not here
};

// Of a target that is no index: itself.
Result<std::vector<PlatformImage>> ListPlatforms(Engine& engine, const client::Descriptor& target);

}  // namespace gantry::engine
