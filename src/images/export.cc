// SPDX-License-Identifier: Apache-2.0
#include "images/export.h"

#include <algorithm>
#include <map>
#include <set>

#include "formats/json.h"
#include "formats/reference.h"
#include "formats/tar.h"

namespace gantry::images {
namespace {

using formats::Digest;
using formats::Json;
using formats::TarEntry;
using formats::TarType;

std::string BlobName(const Digest& digest) {
  return fmt::format("blobs/{}/{}", digest.algorithm_name(), digest.hex());
}

// One entry of docker's manifest.json.
struct DockerEntry {
  oci::Manifest manifest;
  std::vector<std::string> names;
};

class Exporter {
 public:
  Exporter(const Library& library, const ExportOptions& options, ByteSink& sink)
      : library_(library), options_(options), tar_(sink) {}

  Result<> Run(const std::vector<ImageRecord>& images) {
    for (const ImageRecord& image : images) {
      TRY_WITH(Collect(image), "exporting image '{}'", image.name);
    }
    TRY(WriteDirectory("blobs/"));
    TRY(WriteDirectory("blobs/sha256/"));
    for (const Digest& digest : blobs_) TRY_WITH(WriteBlob(digest), "exporting {}", digest.text());
    index_.media_type = oci::kOciIndex;
    TRY(WriteDocument("index.json", oci::ToJson(index_).Dump()));
    if (!docker_.empty()) TRY(WriteDocument("manifest.json", DockerManifest().Dump()));
    TRY(WriteDocument("oci-layout", R"({"imageLayoutVersion":"1.0.0"})"));
    return tar_.Finish();
  }

 private:
  Result<> Collect(const ImageRecord& image) {
    oci::Descriptor target = image.target;
    const std::vector<oci::Platform>& platforms = options_.platforms;
    if (platforms.size() == 1) {
      target = TRY(ResolveManifest(*library_.blobs, target, platforms.front())).descriptor;
    }
    TRY(CollectTree(target, 0));
    oci::Descriptor entry = target;
    auto reference = formats::ParseReference(image.name);
    // dockerd's record of an image without a name, which none follows into the archive.
    bool named = !image.name.starts_with("moby-dangling@");
    if (named) entry.annotations["io.containerd.image.name"] = image.name;
    if (reference.ok() && !reference->tag.empty()) {
      entry.annotations["org.opencontainers.image.ref.name"] = reference->tag;
    }
    index_.manifests.push_back(std::move(entry));

    auto resolved = ResolveManifest(*library_.blobs, target,
                                    platforms.empty() ? oci::HostPlatform() : platforms.front());
    // An image for other machines only is left out of docker's list; the index has it.
    if (!resolved.ok() && resolved.error().kind() == ErrorKind::kNotFound) return {};
    oci::Manifest manifest = TRY(std::move(resolved)).manifest;
    DockerEntry& docker = docker_[manifest.config.digest];
    docker.manifest = std::move(manifest);
    if (reference.ok() && !reference->tag.empty()) {
      reference->digest = {};
      docker.names.push_back(reference->Familiar());
    }
    return {};
  }

  // A manifest with everything it names. Of an index, what is not here is left out.
  Result<> CollectTree(const oci::Descriptor& descriptor, int depth) {
    if (depth > 4) return InvalidArgument("indexes within indexes");
    std::string text = TRY(library_.blobs->ReadBlob(descriptor.digest, oci::kMaxDocumentBytes));
    blobs_.insert(descriptor.digest);
    if (oci::IsIndex(descriptor.media_type)) {
      oci::Index index = TRY(oci::ParseIndex(text, descriptor.media_type));
      size_t present = 0;
      for (const oci::Descriptor& inner : index.manifests) {
        if (!IsWanted(inner) || !library_.blobs->Stat(inner.digest).ok()) continue;
        TRY(CollectTree(inner, depth + 1));
        ++present;
      }
      if (present == 0) return NotFound("none of the manifests of the index is here");
      return {};
    }
    oci::Manifest manifest = TRY(oci::ParseManifest(text, descriptor.media_type));
    std::vector<oci::Descriptor> all = manifest.layers;
    all.push_back(manifest.config);
    for (const oci::Descriptor& blob : all) {
      TRY(library_.blobs->Stat(blob.digest));
      blobs_.insert(blob.digest);
    }
    return {};
  }

  bool IsWanted(const oci::Descriptor& inner) const {
    const std::vector<oci::Platform>& platforms = options_.platforms;
    return platforms.size() < 2 || !inner.platform ||
           std::any_of(
               platforms.begin(), platforms.end(),
               [&](const oci::Platform& wanted) {
                 return oci::MatchPlatform(wanted, *inner.platform) >= oci::kSameArchitecture;
               });
  }

  Json DockerManifest() const {
    Json list = Json::MakeArray();
    for (const auto& [config, entry] : docker_) {
      Json layers = Json::MakeArray();
      for (const oci::Descriptor& layer : entry.manifest.layers) {
        layers.Append(BlobName(layer.digest));
      }
      Json item = Json::MakeObject();
      item.Set("Config", BlobName(config));
      item.Set("RepoTags", entry.names.empty() ? Json() : Json(entry.names));
      item.Set("Layers", std::move(layers));
      list.Append(std::move(item));
    }
    return list;
  }

  Result<> WriteDirectory(std::string name) {
    return tar_.WriteHeader({.type = TarType::kDirectory, .name = std::move(name), .mode = 0755});
  }

  Result<> WriteDocument(std::string name, std::string_view text) {
    return tar_.WriteFile({.name = std::move(name), .mode = 0444}, text);
  }

  Result<> WriteBlob(const Digest& digest) {
    content::BlobInfo info = TRY(library_.blobs->Stat(digest));
    FdSource source(TRY(library_.blobs->OpenBlob(digest)), library_.stop);
    TRY(tar_.WriteHeader({.name = BlobName(digest), .size = info.size, .mode = 0444}));
    for (;;) {
      std::string_view data = TRY(source.Next());
      if (data.empty()) break;
      TRY(tar_.WriteData(data));
    }
    library_.Report({"exported", digest.text(), info.size, info.size, {}});
    return {};
  }

  const Library& library_;
  const ExportOptions& options_;
  formats::TarWriter tar_;
  std::set<Digest> blobs_;
  oci::Index index_;
  std::map<Digest, DockerEntry> docker_;
};

}  // namespace

Result<> Export(const Library& library, const std::vector<ImageRecord>& images,
                const ExportOptions& options, ByteSink& archive) {
  if (images.empty()) return InvalidArgument("exporting images: no image was named");
  return Exporter(library, options, archive).Run(images);
}

}  // namespace gantry::images
