// SPDX-License-Identifier: Apache-2.0
//
// Pushes an image to a registry: what is there already is left alone, what another repository of
// the registry has is mounted from it, the rest goes up, several blobs at once; then the manifests,
// innermost first. Any thread.
#pragma once

#include <string>
#include <vector>

#include "images/library.h"
#include "registry/client.h"

namespace gantry::images {

struct PushOptions {
  // Of an index: none is the index with everything it names; of one platform the manifest alone is
  // pushed, under the name itself; of several an index of these manifests, which is another one
  // unless these are all.
  std::vector<oci::Platform> platforms;
  int parallel_blobs = 3;
};

// Pushes `target` to `reference` ("example.org/a/b:tag", normalised). kNotFound names what is not
// in the store.
Result<> Push(const Library& library, registry::Client& client, const oci::Descriptor& target,
              const std::string& reference, const PushOptions& options);

}  // namespace gantry::images
