// SPDX-License-Identifier: Apache-2.0
//
// The result of a build as an archive of the OCI's image layout (image-spec, "Image Layout"), which
// needs no name and no record in the store. Any thread.
#pragma once

#include <string>
#include <vector>

#include "base/byte_stream.h"
#include "base/error.h"
#include "build/image_set.h"
#include "engine/engine.h"

namespace gantry::build {

enum class ArchiveKind : uint8_t {
  kOci,
  kDocker,  // with the manifest.json of docker's `save`, for a `load` that knows no layouts
};

// `names` as the store has them.
Result<> WriteImageArchive(engine::Engine& engine, const ImageSet& set, ArchiveKind kind,
                           const std::vector<std::string>& names, ByteSink& sink);

}  // namespace gantry::build
