// SPDX-License-Identifier: Apache-2.0
//
// Writes images as an archive that OCI tools, `docker load` (20.10 and later) and skopeo read: an
// OCI layout with docker's manifest.json beside it. Any thread.
#pragma once

#include <vector>

#include "base/byte_stream.h"
#include "images/library.h"

namespace gantry::images {

struct ExportOptions {
  // Of an index, only the manifests for these; none: all that are there. For one platform it is
  // the manifest without its index.
  std::vector<oci::Platform> platforms;
};

Result<> Export(const Library& library, const std::vector<ImageRecord>& images,
                const ExportOptions& options, ByteSink& archive);

}  // namespace gantry::images
