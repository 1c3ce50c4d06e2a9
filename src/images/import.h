// SPDX-License-Identifier: Apache-2.0
//
// Reads an image archive as a stream, in one pass: docker's (`docker save`, with manifest.json) and
// OCI's (index.json and oci-layout), plain, gzip or zstd. Every digest is verified; blobs are
// recorded as they come, images last. Any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/byte_stream.h"
#include "images/early_layers.h"
#include "images/import_names.h"
#include "images/library.h"

namespace gantry::images {

// The writes of an import begin with this and a number: one that was cut off is never resumed.
inline constexpr std::string_view kImportRefPrefix = "gantry import ";

struct ImportOptions {
  // For the archive's index, which is recorded only when it gets a name: by this or by a rule.
  std::string index_name;
  // Names in the archive are normalised before ("busybox" → "docker.io/library/busybox:latest").
  std::vector<NameRule> rules;
  // Of an index only manifests for these (and those that say no platform) are kept; none: all.
  std::vector<oci::Platform> platforms;
  Labels labels;               // of every image that is recorded
  BeforeRecord before_record;  // may be empty
  // Files of the archive go to it while they come; may be null.
  EarlyLayers* early = nullptr;
};

// The images that were recorded, none when no name fits. An archive that holds no image is
// kInvalidArgument.
Result<std::vector<ImageRecord>> Import(const Library& library, ByteSource& archive,
                                        const ImportOptions& options);

}  // namespace gantry::images
