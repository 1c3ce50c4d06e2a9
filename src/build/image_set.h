// SPDX-License-Identifier: Apache-2.0
//
// What a build's result is written as: one image, or an index of images for several platforms and
// of what is attested of them (image-spec, "Image Index"; an attestation is a manifest of in-toto
// statements, for the platform "unknown/unknown", whose annotations name the image's manifest).
// Plain data; any thread.
#pragma once

#include <string>
#include <vector>

#include "base/byte_stream.h"
#include "base/error.h"
#include "build/stage_state.h"
#include "client/containerd.h"
#include "engine/engine.h"
#include "engine/new_image.h"
#include "formats/json.h"
#include "oci/platform.h"

namespace gantry::build {

struct ImageDocumentsOf {
  std::string config;    // as written
  std::string manifest;  // as written
  client::Descriptor config_descriptor;
  client::Descriptor manifest_descriptor;
  std::vector<client::Descriptor> layers;
  std::string chain_id;                        // of the last layer's snapshot
  engine::Annotations descriptor_annotations;  // of the manifest where an index names it
};
// What the store gets when the result is stored; of a build that changed nothing the base's own.
// `annotations`: of the manifest.
Result<ImageDocumentsOf> DocumentsOf(engine::Engine& engine, const StageState& state,
                                     const engine::Annotations& annotations = {});

// An in-toto statement that is attached to an image.
struct Statement {
  std::string predicate_type;
  std::string text;  // JSON
};

// A document of the set, and what of the set it keeps from the store's collector.
struct SetDocument {
  client::Descriptor descriptor;
  std::string text;
  std::vector<std::string> references;  // digests
  std::string chain_id;                 // of a configuration: its snapshot
};

struct ImageSet {
  std::vector<ImageDocumentsOf> images;
  std::vector<SetDocument> documents;  // what names others comes after them
  client::Descriptor root;             // the image's manifest, or the index
  engine::Annotations root_annotations;
};

class ImageSetMaker {
 public:
  void Add(ImageDocumentsOf image, const oci::Platform& platform,
           const std::vector<Statement>& statements);
  // The one image.
  ImageSet TakeImage() &&;
  ImageSet TakeIndex(const engine::Annotations& annotations,
                     const engine::Annotations& descriptor_annotations) &&;

 private:
  client::Descriptor AddDocument(std::string text, std::string_view type,
                                 std::vector<std::string> references);
  ImageSet set_;
  formats::Json images_ = formats::Json::MakeArray();
  formats::Json attestations_ = formats::Json::MakeArray();
};

// Into the store, under these names; none: an image without a name.
Result<> StoreImageSet(engine::Engine& engine, const ImageSet& set,
                       const std::vector<std::string>& names);

}  // namespace gantry::build
