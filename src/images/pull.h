// SPDX-License-Identifier: Apache-2.0
//
// Pulls an image from a registry: manifest, index, configuration and layers, several layers at
// once, each resumed where an earlier try stopped, each verified; unpacks what is there while the
// rest is on its way. Any thread.
#pragma once

#include <string>
#include <vector>

#include "images/library.h"
#include "registry/client.h"
#include "snapshots/snapshotter.h"

namespace gantry::images {

// A snapshotter that the image is unpacked into, for one platform.
struct UnpackInto {
  snapshots::Snapshotter* snapshotter;
  oci::Platform platform;
};

struct PullOptions {
  std::vector<oci::Platform> platforms;  // of an index, these; none: all of them
  int parallel_layers = 3;
  int parallel_parts = 2;  // connections for one large layer
  // Extraction goes on beside the download, layer by layer.
  std::vector<UnpackInto> unpack;
};

// Pulls `reference` (normalised: "docker.io/library/busybox:latest", with a tag, a digest or both)
// and records it under `name`.
Result<ImageRecord> Pull(const Library& library, registry::Client& client,
                         const std::string& reference, const std::string& name,
                         const PullOptions& options);

}  // namespace gantry::images
