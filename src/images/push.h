// SPDX-License-Identifier: Apache-2.0
//
// Pushes an image to a registry: what is there already is left alone, what another repository of
// the registry has is mounted from it, the rest goes up, several blobs at once; then the manifests,
// innermost first. Any thread.
#pragma once

#include <optional>
#include <string>

#include "images/library.h"
#include "registry/client.h"

namespace gantry::images {

struct PushOptions {
  // Of an index, only the manifest for this platform is pushed, under the name itself; missing: the
  // index with everything it names.
  std::optional<oci::Platform> platform;
  int parallel_blobs = 3;
};

// Pushes `target` to `reference` ("example.org/a/b:tag", normalised). kNotFound names what is not
// in the store.
Result<> Push(const Library& library, registry::Client& client, const oci::Descriptor& target,
              const std::string& reference, const PushOptions& options);

}  // namespace gantry::images
