// SPDX-License-Identifier: Apache-2.0
//
// What a stopped dockerd has left in its data root, /var/lib/docker (the overlay2 store of images,
// docker 1.13 to 28; from 29 on new hosts keep images in containerd, which `import-docker` can't
// read):
//
//   image/overlay2/repositories.json                     names
//   image/overlay2/imagedb/content/sha256/ID             configurations
//   image/overlay2/layerdb/sha256/CHAIN/{cache-id, tar-split.json.gz}, overlay2/CACHE-ID/diff
//   image/overlay2/layerdb/mounts/CONTAINER/mount-id     the writable layer's cache id
//   volumes/NAME/_data, volumes/metadata.db              bolt; bucket "volumes"
//   network/files/local-kv.db                            bolt; bucket "libnetwork"
//   containers/ID/{config.v2.json, hostconfig.json}
//
// One thread.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"
#include "formats/json.h"

namespace gantry::cli {

struct DockerImage {
  std::string id;                  // "sha256:…"
  std::string config;              // as it is on disk
  std::vector<std::string> names;  // "busybox:latest"
  std::vector<std::string> diff_ids;
};

struct DockerVolume {
  std::string name;
  formats::Json options, labels;
  std::string data;  // the directory with its files
};

struct DockerContainer {
  std::string id;
  formats::Json config, host;
  std::string writable;  // the directory with what it has written
};

struct DockerContents {
  std::vector<DockerImage> images;
  std::vector<DockerVolume> volumes;
  std::vector<formats::Json> networks;  // users', as libnetwork keeps them
  std::vector<DockerContainer> containers;
};

class DockerData {
 public:
  // kFailedPrecondition while a dockerd runs on it; none can start as long as this lives.
  static Result<DockerData> Open(std::string root);

  // All there is, and that nothing is missing which it names: records, layers, their files. The
  // first thing that is damaged is the error.
  Result<DockerContents> Read() const;

  struct Layer {
    std::string split;  // its tar-split.json.gz
    std::string files;  // its directory
  };
  // Of a chain ID, "sha256:…".
  Result<Layer> LayerOf(const std::string& chain) const;

 private:
  Result<std::vector<DockerImage>> Images() const;
  Result<std::vector<DockerVolume>> Volumes() const;
  Result<std::vector<formats::Json>> Networks() const;
  Result<std::vector<DockerContainer>> Containers() const;
  Result<> CheckLayers(const std::vector<DockerImage>& images) const;
  Result<std::map<std::string, std::string>> ReadBucket(const std::string& file,
                                                        const std::string& bucket) const;

  std::string root_;
  UniqueFd lock_;
};

// Chain IDs of a list of diff IDs (image-spec, config.md, "Layer ChainID").
std::vector<std::string> ChainIds(const std::vector<std::string>& diff_ids);

}  // namespace gantry::cli
