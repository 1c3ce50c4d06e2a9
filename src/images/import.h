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
#include "images/library.h"

namespace gantry::images {

// The writes of an import begin with this and a number: one that was cut off is never resumed.
inline constexpr std::string_view kImportRefPrefix = "gantry import ";

struct ImportOptions {
  // A name for an OCI archive that has none (the name of the index's annotation wins unless
  // `overwrite_name`).
  std::string name;
  // Names are images' own references, normalised ("busybox" → "docker.io/library/busybox:latest").
  // Manifests without a name are recorded as "PREFIX@sha256:…" when this is not empty.
  std::string digest_prefix;
  // Names that this refuses are not recorded; empty: all are.
  std::function<bool(const std::string& name)> accept_name;
  BeforeRecord before_record;  // may be empty
};

// The images that were recorded. An archive without any image is kInvalidArgument.
Result<std::vector<ImageRecord>> Import(const Library& library, ByteSource& archive,
                                        const ImportOptions& options);

}  // namespace gantry::images
