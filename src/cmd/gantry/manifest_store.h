// SPDX-License-Identifier: Apache-2.0
//
// Lists of images for several platforms while they are made: one file for each image of a list,
// below the user's configuration, where and as docker's own command line keeps them:
//
//   CONFIG/manifests/LIST/IMAGE    names with ':' as '-' and '/' as '_'
//
// A file is written beside and renamed over the old one. One thread.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "formats/json.h"
#include "formats/reference.h"

namespace gantry::cli {

// {"Ref", "Descriptor": {mediaType, digest, size, platform}, "Raw", "SchemaV2Manifest" or
// "OCIManifest"}.
using ManifestEntry = formats::Json;

class ManifestStore {
 public:
  explicit ManifestStore(std::string directory) : directory_(std::move(directory)) {}

  // In the order of their file names. kNotFound: "No such manifest: LIST".
  Result<std::vector<ManifestEntry>> List(const formats::Reference& list) const;
  Result<ManifestEntry> Get(const formats::Reference& list, const formats::Reference& image) const;
  Result<> Put(const formats::Reference& list, const formats::Reference& image,
               const ManifestEntry& entry) const;
  // Nothing there: no error.
  Result<> Remove(const formats::Reference& list) const;

 private:
  std::string PathOf(const formats::Reference& list) const;

  std::string directory_;
};

}  // namespace gantry::cli
