// SPDX-License-Identifier: Apache-2.0
//
// What the engine knows of images: names and ids to documents, cached, since documents never
// change under their digest. Names are looked up in the container daemon each time. Any thread.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/mutex.h"
#include "client/containerd.h"
#include "formats/json.h"
#include "oci/image_spec.h"

namespace gantry::engine {

// The documents of one image for one platform.
struct ImageDocuments {
  std::string id;  // digest of the configuration, docker's image id
  client::Descriptor manifest_descriptor;
  oci::Manifest manifest;
  oci::ImageConfig config;
  formats::Json config_json;  // as it came; "config" in it is docker's container configuration
  std::string top_chain_id;   // the parent of a container's snapshot; "" without layers
  // The "config" in it; an empty object where there is none.
  const formats::Json& container_config() const;
};

struct NamedImage {
  client::Image image;
  std::shared_ptr<const ImageDocuments> documents;
};

class ImageIndex {
 public:
  explicit ImageIndex(client::Containerd& containerd) : containerd_(containerd) {}

  // `reference`: a name, a name with digest, an image id or a unique prefix of one. kNotFound in
  // docker's words: "No such image: NAME". With `platform` the documents are that one's, or it is
  // kNotFound as well.
  Result<NamedImage> Resolve(std::string_view reference, const oci::Platform* platform = nullptr);
  // Whether the image of that name in the store has, for any platform, the configuration `id`. Kept
  // in memory until a name changes through this engine, and for a second, since others may change
  // one too. Nobody knows while the container daemon does not answer: then it has.
  bool StandsFor(const std::string& store_name, const std::string& id);
  // The documents behind a target descriptor (index or manifest). Of an index it is the host's
  // platform, or else any that is here.
  Result<std::shared_ptr<const ImageDocuments>> Documents(const client::Descriptor& target,
                                                          const oci::Platform* platform = nullptr);
  // The same of one manifest. kNotFound: it or its configuration is not here.
  Result<std::shared_ptr<const ImageDocuments>> ReadManifest(const client::Descriptor& manifest);
  // Whether an index keeps this manifest: the content of another may be here for a moment longer,
  // or for another image's sake. An index without any reference of that kind keeps all.
  class Kept {
   public:
    explicit Kept(const client::Labels& labels);
    bool Contains(const std::string& digest) const { return all_ || digests_.contains(digest); }

   private:
    bool all_ = true;
    std::set<std::string> digests_;
  };
  Result<Kept> KeptBy(const std::string& index);
  // The manifest's content is gone, and with it what is known of an index that names it.
  void Forget(const std::string& index, const std::string& manifest);
  // All images of the store. Those of which nothing is here and what is no image, such as an
  // artifact that was pushed into the store, are left out.
  Result<std::vector<NamedImage>> List();

 private:
  Result<NamedImage> Find(std::string_view reference);
  Result<bool> HasConfig(const client::Descriptor& target, const std::string& id);
  std::shared_ptr<const ImageDocuments> Known(const std::string& key);
  client::Containerd& containerd_;
  Mutex mutex_;
  // By digest of a manifest, or of an index whose best platform for this host is here.
  std::unordered_map<std::string, std::shared_ptr<const ImageDocuments>> known_ GUARDED_BY(mutex_);
  // Whether a name stands for an id, by both, as it was at that time.
  std::map<std::pair<std::string, std::string>, bool> standing_ GUARDED_BY(mutex_);
  uint64_t standing_changes_ GUARDED_BY(mutex_) = 0;
  SteadyClock::time_point standing_since_ GUARDED_BY(mutex_);
};

// The name of an image in the store: "docker.io/library/busybox:latest" of "busybox".
Result<std::string> StoreName(std::string_view reference);

}  // namespace gantry::engine
