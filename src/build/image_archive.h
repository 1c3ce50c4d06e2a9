// SPDX-License-Identifier: Apache-2.0
//
// The result of a build as an archive of the OCI's image layout (image-spec, "Image Layout"), which
// needs no name and no record in the store. Any thread.
#pragma once

#include <string>
#include <vector>

#include "base/byte_stream.h"
#include "base/error.h"
#include "build/stage_state.h"
#include "client/containerd.h"
#include "engine/engine.h"

namespace gantry::build {

enum class ArchiveKind : uint8_t {
  kOci,
  kDocker,  // with the manifest.json of docker's `save`, for a `load` that knows no layouts
};

struct ImageDocumentsOf {
  std::string config;    // as written
  std::string manifest;  // as written
  client::Descriptor config_descriptor;
  client::Descriptor manifest_descriptor;
  std::vector<client::Descriptor> layers;
  engine::Annotations descriptor_annotations;  // of the manifest where an index names it
};
// What the store gets when the result is stored; of a build that changed nothing the base's own.
// `annotations`: of the manifest.
Result<ImageDocumentsOf> DocumentsOf(engine::Engine& engine, const StageState& state,
                                     const engine::Annotations& annotations = {});

// `names` as the store has them.
Result<> WriteImageArchive(engine::Engine& engine, const ImageDocumentsOf& image, ArchiveKind kind,
                           const std::vector<std::string>& names, ByteSink& sink);

}  // namespace gantry::build
