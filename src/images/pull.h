// SPDX-License-Identifier: Apache-2.0
//
// Pulls an image from a registry: manifest, index, configuration and layers, several layers at
// once, each resumed where an earlier try stopped, each verified. Any thread.
#pragma once

#include <string>

#include "images/library.h"
#include "registry/client.h"

namespace gantry::images {

struct PullOptions {
  oci::Platform platform;  // of an index, this one
  int parallel_layers = 3;
  BeforeRecord before_record;  // may be empty
};

// Pulls `reference` (normalised: "docker.io/library/busybox:latest", with a tag, a digest or both)
// and records it under `name`.
Result<ImageRecord> Pull(const Library& library, registry::Client& client,
                         const std::string& reference, const std::string& name,
                         const PullOptions& options);

}  // namespace gantry::images
