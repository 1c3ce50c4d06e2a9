// SPDX-License-Identifier: Apache-2.0
//
// Turns the layers of an image into a chain of committed snapshots, named by chain ids. Layers that
// are there are left alone, so it may be repeated and may run twice at once. Any thread.
#pragma once

#include <string>

#include "images/early_layers.h"
#include "images/layer_feed.h"
#include "images/library.h"
#include "snapshots/snapshotter.h"

namespace gantry::images {

struct Unpacked {
  // The chain id of the last layer: the parent of containers' snapshots. Empty for an image without
  // layers, and for what is no image (an artifact).
  std::string chain_id;
  oci::Descriptor manifest;
  oci::Descriptor config;
};

// `target` is a manifest, or an index from which `wanted` is taken. Verifies every diff id against
// the image's configuration.
Result<Unpacked> Unpack(const Library& library, snapshots::Snapshotter& snapshotter,
                        const oci::Descriptor& target, const oci::Platform& wanted);
// Where its layers come from.
struct LayerSources {
  LayerSupply* supply;           // the store, and what is on its way there
  EarlyLayers* early = nullptr;  // what is extracted already
};
// The same with layers that may still be on their way. Manifest and configuration are there.
Result<Unpacked> Unpack(const Library& library, snapshots::Snapshotter& snapshotter,
                        const oci::Descriptor& target, const oci::Platform& wanted,
                        const LayerSources& sources);

}  // namespace gantry::images
