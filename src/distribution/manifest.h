// SPDX-License-Identifier: Apache-2.0
//
// What a registry must know of a manifest that is pushed (image-spec "Image Manifest", "Image
// Index"; docker's schema 2). Manifests of other types are kept as they are. Plain data.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "formats/digest.h"

namespace gantry::distribution {

inline constexpr size_t kMaxManifestBytes = size_t{4} << 20;

struct ManifestFacts {
  std::string media_type;
  // Config and layers that must be here; not those that have URLs elsewhere.
  std::vector<formats::Digest> blobs;
  std::vector<formats::Digest> manifests;  // of an index
  formats::Digest subject;                 // empty: none
  // For the list of referrers: its own, or else the config's media type.
  std::string artifact_type;
  std::map<std::string, std::string> annotations;
};

// `content_type` is the request's, may be empty. kInvalidArgument: no JSON object, no type, two
// types, schema 1, a descriptor without a digest.
Result<ManifestFacts> ReadManifest(std::string_view text, std::string_view content_type);

// Of a manifest that is asked for by its digest, nobody says what it is but itself.
std::string OwnMediaType(std::string_view text);

}  // namespace gantry::distribution
