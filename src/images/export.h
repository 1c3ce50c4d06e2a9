// SPDX-License-Identifier: Apache-2.0
//
// Writes images as an archive that OCI tools, `docker load` (20.10 and later) and skopeo read: an
// OCI layout with docker's manifest.json beside it. Any thread.
#pragma once

#include <optional>
#include <vector>

#include "base/byte_stream.h"
#include "images/library.h"

namespace gantry::images {

struct ExportOptions {
  // Of an index, only the manifests for this platform; missing: all that are there.
  std::optional<oci::Platform> platform;
};

Result<> Export(const Library& library, const std::vector<ImageRecord>& images,
                const ExportOptions& options, ByteSink& archive);

}  // namespace gantry::images
