// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantry/docker_data.h"

#include <fcntl.h>
#include <sys/file.h>

#include <algorithm>
#include <set>

#include "base/directory.h"
#include "base/io.h"
#include "cmd/gantry/layer_tar.h"
#include "cmd/gantry/sha256.h"
#include "formats/bolt_file.h"

namespace gantry::cli {
namespace {

using formats::Json;

constexpr size_t kMaxDatabase = size_t{1} << 30;
// libkv's index in front of each value of local-kv.db.
constexpr size_t kIndexSize = 8;
constexpr std::string_view kNetworkKey = "docker/network/v1.0/network/";

Result<Json> ReadJson(const std::string& path) {
  return TRY_WITH(Json::Parse(TRY(ReadFile(path))), "reading '{}'", path);
}

std::vector<std::string> TextsOf(const Json& json) {
  std::vector<std::string> strings;
  for (const Json& item : json.items()) strings.push_back(item.AsString());
  return strings;
}

// "sha256:HEX" to HEX, which names files. What is no digest would name others.
Result<std::string> HexOf(const std::string& digest) {
  std::string hex = digest.substr(std::min(digest.find(':') + 1, digest.size()));
  if (hex.size() != 64 || hex.find_first_not_of("0123456789abcdef") != std::string::npos) {
    return InvalidArgument("'{}' is no digest", digest);
  }
  return hex;
}

Result<std::string> ReadId(const std::string& path) {
  std::string id = TRY(ReadFile(path));
  while (!id.empty() && id.back() == '\n') id.pop_back();
  if (id.empty() || id.find('/') != std::string::npos || id == "..") {
    return InvalidArgument("'{}' holds no name", path);
  }
  return id;
}

}  // namespace

std::vector<std::string> ChainIds(const std::vector<std::string>& diff_ids) {
  std::vector<std::string> chain;
  for (const std::string& diff : diff_ids) {
    chain.push_back(chain.empty() ? diff : "sha256:" + Sha256Hex(chain.back() + " " + diff));
  }
  return chain;
}

Result<DockerData> DockerData::Open(std::string root) {
  DockerData data;
  data.root_ = std::move(root);
  if (!PathExists(data.root_ + "/image/overlay2/imagedb")) {
    // What a dockerd with "containerd-snapshotter" has: its layers by containerd's snapshots.
    bool in_containerd = PathExists(data.root_ + "/rootfs/overlayfs") ||
                         PathExists(data.root_ + "/image/overlayfs") ||
                         PathExists(data.root_ + "/containerd/daemon");
    if (in_containerd) {
      return FailedPrecondition(
          "the dockerd of '{}' keeps its images in containerd, which can't be read here: take them "
          "over with 'docker save' and 'gantry load' while it runs, volumes are below "
          "'{}/volumes'",
          data.root_, data.root_);
    }
    return FailedPrecondition("'{}' is no data root of docker with its overlay2 store of images",
                              data.root_);
  }
  // dockerd holds this lock as long as it runs (bbolt, flock(2)).
  std::string database = data.root_ + "/volumes/metadata.db";
  data.lock_ = TRY(OpenFile(database, O_RDONLY));
  if (::flock(data.lock_.get(), LOCK_EX | LOCK_NB) < 0) {
    if (errno == EWOULDBLOCK) {
      return FailedPrecondition("a dockerd runs on '{}': stop it first", data.root_);
    }
    return ErrnoError("locking '{}'", database);
  }
  return data;
}

Result<DockerContents> DockerData::Read() const {
  DockerContents all;
  all.images = TRY(Images());
  all.volumes = TRY(Volumes());
  all.networks = TRY(Networks());
  all.containers = TRY(Containers());
  TRY(CheckLayers(all.images));
  return all;
}

Result<> DockerData::CheckLayers(const std::vector<DockerImage>& images) const {
  std::set<std::string> checked;
  for (const DockerImage& image : images) {
    for (const std::string& chain : ChainIds(image.diff_ids)) {
      if (!checked.insert(chain).second) continue;
      auto check = [&]() -> Result<> {
        Layer layer = TRY(LayerOf(chain));
        return TRY(LayerTar::Open(layer.split, layer.files)).Check();
      };
      TRY_WITH(check(), "image {} is damaged", image.id);
    }
  }
  return {};
}

Result<std::map<std::string, std::string>> DockerData::ReadBucket(const std::string& file,
                                                                  const std::string& bucket) const {
  std::string path = root_ + "/" + file;
  if (!PathExists(path)) return std::map<std::string, std::string>();
  std::string content = TRY(ReadFile(path, kMaxDatabase));
  auto pairs = formats::ReadBoltBucket(content, bucket);
  if (!pairs.ok() && pairs.error().kind() == ErrorKind::kNotFound) {
    return std::map<std::string, std::string>();
  }
  return TRY_WITH(std::move(pairs), "reading '{}'", path);
}

Result<std::vector<DockerImage>> DockerData::Images() const {
  std::string store = root_ + "/image/overlay2";
  std::map<std::string, std::vector<std::string>> names;
  if (PathExists(store + "/repositories.json")) {
    Json repositories = TRY(ReadJson(store + "/repositories.json"));
    for (const auto& [repository, references] : repositories["Repositories"].members()) {
      for (const auto& [name, id] : references.members()) {
        if (name.find('@') == std::string::npos) names[id.AsString()].push_back(name);
      }
    }
  }
  // A step of a build that another one stands on has no use of its own here.
  std::set<std::string> parents;
  for (const std::string& hex : TRY(ListDirectoryIfThere(store + "/imagedb/metadata/sha256"))) {
    Result<std::string> parent =
        ReadFile(fmt::format("{}/imagedb/metadata/sha256/{}/parent", store, hex));
    if (parent.ok()) parents.insert(*parent);
  }
  std::vector<DockerImage> images;
  for (const std::string& hex : TRY(ListDirectory(store + "/imagedb/content/sha256"))) {
    DockerImage image;
    image.id = "sha256:" + hex;
    image.names = names[image.id];
    if (image.names.empty() && parents.contains(image.id)) continue;
    image.config = TRY(ReadFile(store + "/imagedb/content/sha256/" + hex));
    if (Sha256Hex(image.config) != hex) {
      return FailedPrecondition("the configuration of image {} is damaged", image.id);
    }
    Json config = TRY_WITH(Json::Parse(image.config), "reading the configuration of {}", image.id);
    image.diff_ids = TextsOf(config["rootfs"]["diff_ids"]);
    images.push_back(std::move(image));
  }
  return images;
}

Result<DockerData::Layer> DockerData::LayerOf(const std::string& chain) const {
  std::string layer = fmt::format("{}/image/overlay2/layerdb/sha256/{}", root_, TRY(HexOf(chain)));
  std::string cache = TRY_WITH(ReadId(layer + "/cache-id"), "finding layer {}", chain);
  return Layer{layer + "/tar-split.json.gz", fmt::format("{}/overlay2/{}/diff", root_, cache)};
}

Result<std::vector<DockerVolume>> DockerData::Volumes() const {
  auto records = TRY(ReadBucket("volumes/metadata.db", "volumes"));
  std::vector<DockerVolume> volumes;
  for (const std::string& name : TRY(ListDirectoryIfThere(root_ + "/volumes"))) {
    DockerVolume volume;
    volume.name = name;
    volume.data = fmt::format("{}/volumes/{}/_data", root_, name);
    if (!PathExists(volume.data)) continue;  // metadata.db and the like
    auto record = records.find(name);
    if (record != records.end()) {
      Json json = TRY_WITH(Json::Parse(record->second), "reading the record of volume {}", name);
      volume.labels = json["Labels"];
      volume.options = json["Options"];
    }
    volumes.push_back(std::move(volume));
  }
  return volumes;
}

Result<std::vector<Json>> DockerData::Networks() const {
  std::vector<Json> networks;
  for (const auto& [key, value] : TRY(ReadBucket("network/files/local-kv.db", "libnetwork"))) {
    if (!key.starts_with(kNetworkKey) || value.size() < kIndexSize) continue;
    Json network = TRY_WITH(Json::Parse(std::string_view(value).substr(kIndexSize)),
                            "reading the record '{}' of local-kv.db", key);
    const std::string& name = network["name"].AsString();
    if (name != "bridge" && name != "host" && name != "none") networks.push_back(network);
  }
  return networks;
}

Result<std::vector<DockerContainer>> DockerData::Containers() const {
  std::vector<DockerContainer> containers;
  for (const std::string& id : TRY(ListDirectoryIfThere(root_ + "/containers"))) {
    std::string directory = fmt::format("{}/containers/{}", root_, id);
    if (!PathExists(directory + "/config.v2.json")) continue;  // half removed
    DockerContainer container;
    container.id = id;
    container.config = TRY(ReadJson(directory + "/config.v2.json"));
    container.host = TRY(ReadJson(directory + "/hostconfig.json"));
    const std::string& driver = container.config["Driver"].AsString();
    if (driver != "overlay2") {
      return FailedPrecondition(
          "container {} has its files in the storage driver '{}'; only those of overlay2 can be "
          "read: remove it first, or commit it to an image",
          id, driver);
    }
    std::string mount = fmt::format("{}/image/overlay2/layerdb/mounts/{}/mount-id", root_, id);
    std::string cache = TRY_WITH(ReadId(mount), "finding the layer of container {}", id);
    container.writable = fmt::format("{}/overlay2/{}/diff", root_, cache);
    if (!PathExists(container.writable)) {
      return FailedPrecondition("container {} is damaged: its layer '{}' is not there", id,
                                container.writable);
    }
    containers.push_back(std::move(container));
  }
  return containers;
}

}  // namespace gantry::cli
