// SPDX-License-Identifier: Apache-2.0
//
// What the engine knows of images: names and ids to documents, cached, since documents never
// change under their digest. Names are looked up in the container daemon each time. Any thread.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "base/mutex.h"
#include "client/containerd.h"
#include "formats/json.h"
#include "oci/image_spec.h"

namespace gantry::engine {

// The documents of one image for this host's platform.
struct ImageDocuments {
  std::string id;  // digest of the configuration, docker's image id
  client::Descriptor manifest_descriptor;
  oci::Manifest manifest;
  oci::ImageConfig config;
  formats::Json config_json;  // as it came; "config" in it is docker's container configuration
  std::string top_chain_id;   // the parent of a container's snapshot; "" without layers
};

struct NamedImage {
  client::Image image;
  std::shared_ptr<const ImageDocuments> documents;
};

class ImageIndex {
 public:
  explicit ImageIndex(client::Containerd& containerd) : containerd_(containerd) {}

  // `reference`: a name, a name with digest, an image id or a unique prefix of one. kNotFound in
  // docker's words: "No such image: NAME".
  Result<NamedImage> Resolve(std::string_view reference);
  // The documents behind a target descriptor (index or manifest).
  Result<std::shared_ptr<const ImageDocuments>> Documents(const client::Descriptor& target);
  // All images of the store. Those of other platforms and what is no image, such as an artifact
  // that was pushed into the store, are left out.
  Result<std::vector<NamedImage>> List();

 private:
  client::Containerd& containerd_;
  Mutex mutex_;
  std::unordered_map<std::string, std::shared_ptr<const ImageDocuments>> by_target_
      GUARDED_BY(mutex_);
};

// The name of an image in the store: "docker.io/library/busybox:latest" of "busybox".
Result<std::string> StoreName(std::string_view reference);

}  // namespace gantry::engine
