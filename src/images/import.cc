// SPDX-License-Identifier: Apache-2.0
#include "images/import.h"

#include <algorithm>
#include <map>
#include <set>

#include "base/random.h"
#include "formats/compression/compression.h"
#include "formats/json.h"
#include "formats/reference.h"
#include "formats/tar.h"
#include "images/layer_directory.h"

namespace gantry::images {
namespace {

using formats::Digest;
using formats::Json;
using formats::TarType;

constexpr size_t kMaxListBytes = size_t{16} << 20;
constexpr size_t kMagicBytes = 6;

// A file of the archive that is stored as a blob.
struct Stored {
  Digest digest;
  uint64_t size = 0;
  std::string first_bytes;  // to see how it is compressed
};

// One image of docker's manifest.json.
struct DockerImage {
  std::string config;
  std::vector<std::string> repo_tags;
  std::vector<std::string> layers;
};

// What old dockers wrote beside each layer and nobody reads.
bool IsOldMetadata(std::string_view name) {
  std::string_view base = name.substr(name.rfind('/') + 1);
  return base == "VERSION" || base == "json" || base == "repositories";
}

std::string Directory(std::string_view name) {
  size_t slash = name.rfind('/');
  return slash == std::string_view::npos ? "" : std::string(name.substr(0, slash));
}

class Importer {
 public:
  Importer(const Library& library, const ImportOptions& options)
      : library_(library), options_(options) {}

  Result<std::vector<ImageRecord>> Run(ByteSource& archive) {
    TRY(ReadArchive(archive));
    if (!index_text_.empty()) {
      TRY(ImportIndex());
    } else if (!docker_text_.empty()) {
      TRY(ImportDocker());
    } else {
      return InvalidArgument(
          "it holds no image: there is neither index.json nor manifest.json in it");
    }
    if (options_.before_record) {
      std::set<Digest> seen;
      for (const ImageRecord& image : images_) {
        if (!seen.insert(image.target.digest).second) continue;
        TRY_WITH(options_.before_record(image.target), "preparing image '{}'", image.name);
      }
    }
    for (const ImageRecord& image : images_) {
      TRY_WITH(library_.records->PutImage(image), "recording image '{}'", image.name);
      library_.Report({"saved", image.name, 0, 0, image.target});
    }
    return images_;
  }

 private:
  // ---- the archive: documents in memory, every other file as a blob

  Result<> ReadArchive(ByteSource& archive) {
    auto plain = TRY(formats::compression::Decompress(archive));
    formats::TarReader tar(*plain);
    formats::TarEntry entry;
    while (TRY(tar.NextEntry(&entry))) {
      if (library_.stop.stop_requested()) return MakeError(ErrorKind::kCancelled, "stopped");
      std::string name = CleanName(entry.name);
      if (entry.type == TarType::kSymlink) {
        // Old dockers link a layer to the same one of another image.
        links_[name] = CleanName(Directory(name) + "/" + entry.link_name);
      } else if (entry.type == TarType::kHardLink) {
        links_[name] = CleanName(entry.link_name);
      } else if (entry.type == TarType::kFile) {
        TRY_WITH(TakeFile(tar, name, entry.size), "reading '{}'", name);
      }
    }
    // To the end: the checksum of a compressed archive comes last.
    return tar.Drain();
  }

  Result<> TakeFile(formats::TarReader& tar, const std::string& name, uint64_t size) {
    if (name == "index.json") {
      index_text_ = TRY(tar.ReadData(kMaxListBytes));
    } else if (name == "manifest.json") {
      docker_text_ = TRY(tar.ReadData(kMaxListBytes));
    } else if (name == "oci-layout") {
      Json layout = TRY(Json::Parse(TRY(tar.ReadData(4096))));
      if (layout["imageLayoutVersion"].AsString().rfind("1.", 0) != 0) {
        return Unimplemented("OCI layout version '{}' is not supported",
                             layout["imageLayoutVersion"].AsString());
      }
    } else if (!IsOldMetadata(name)) {
      TRY(StoreFile(tar, name, size));
    }
    return {};
  }

  // Files below blobs/ must have the digest that they are named by.
  Result<> StoreFile(formats::TarReader& tar, const std::string& name, uint64_t size) {
    Digest expected;
    if (name.rfind("blobs/", 0) == 0) {
      std::string text = name.substr(6);
      std::replace(text.begin(), text.end(), '/', ':');
      expected = TRY(Digest::Parse(text));
      auto existing = library_.blobs->Stat(expected);
      auto recorded = existing.ok() && existing->size == size
                          ? library_.records->PutBlob({expected, size, {}})
                          : Result<>(NotFound("content {}: not found", expected.text()));
      if (recorded.ok()) {
        files_[name] = {expected, size, TRY(PeekBlob(expected))};
        library_.Report({"already exists", expected.text(), size, size, {}});
        return {};  // it was verified when it was written
      }
    }
    std::string ref = std::string(kImportRefPrefix) + RandomHex(8);
    auto writer = TRY(library_.blobs->OpenWriter(
        {.ns = library_.ns, .ref = ref, .total = size, .expected = expected}));
    LayerFeed* feed = nullptr;
    auto stored = WriteBlob(*writer, tar, {name, size, expected}, &feed);
    if (!stored.ok()) writer->Discard();
    if (feed != nullptr) {
      if (stored.ok()) options_.early->Name(feed, stored->digest);
      feed->Finish(stored.ok() ? Result<>() : Result<>(Error(stored.error())));
    }
    files_[name] = TRY(std::move(stored));
    return {};
  }

  struct File {
    const std::string& name;
    uint64_t size;
    const Digest& expected;  // may be empty
  };
  // `feed` becomes that of the file, where it is extracted while it comes.
  Result<Stored> WriteBlob(content::BlobWriter& writer, formats::TarReader& tar, const File& file,
                           LayerFeed** feed) {
    const auto& [name, size, expected] = file;
    std::string first;
    uint64_t reported = 0;
    for (;;) {
      std::string_view data = TRY(tar.NextData());
      if (data.empty()) break;
      if (library_.stop.stop_requested()) return MakeError(ErrorKind::kCancelled, "stopped");
      TRY(writer.Write(data));
      if (first.size() < kMagicBytes) {
        first.append(data.substr(0, kMagicBytes - first.size()));
        if (first.size() == kMagicBytes && options_.early != nullptr) {
          *feed = options_.early->Begin(TRY(writer.OpenData()), first);
        }
      }
      if (*feed != nullptr) (*feed)->Advance(writer.offset());
      if (writer.offset() - reported >= (uint64_t{1} << 20)) {
        reported = writer.offset();
        library_.Report(
            {"importing", expected.empty() ? name : expected.text(), reported, size, {}});
      }
    }
    Digest digest = expected.empty() ? writer.Current() : expected;
    // Recorded at once: a blob that no record names is garbage.
    auto commit = [&]() -> Result<> {
      TRY(writer.Commit(size, expected));
      return {};
    };
    TRY(library_.records->CommitBlob(commit, {digest, size, {}}));
    return Stored{digest, size, first};
  }

  Result<std::string> PeekBlob(const Digest& digest) {
    FdSource source(TRY(library_.blobs->OpenBlob(digest)), {}, 6);
    return std::string(TRY(source.Next()));
  }

  // Follows links between files of the archive.
  const Stored* Find(std::string name) const {
    for (int hops = 0; hops < 16; ++hops) {
      auto file = files_.find(name);
      if (file != files_.end()) return &file->second;
      auto link = links_.find(name);
      if (link == links_.end()) return nullptr;
      name = link->second;
    }
    return nullptr;
  }

  // ---- OCI layout

  Result<> ImportIndex() {
    oci::Index index = TRY_WITH(oci::ParseIndex(index_text_, ""), "reading 'index.json'");
    // docker 25 and later write both; the names are the same, but only manifest.json tells about
    // images that have several.
    std::map<std::string, std::vector<std::string>> docker_names;
    if (!docker_text_.empty()) docker_names = TRY(DockerNames());
    size_t manifests = 0;
    for (const oci::Descriptor& descriptor : index.manifests) {
      if (!oci::IsManifest(descriptor.media_type) && !oci::IsIndex(descriptor.media_type)) continue;
      ++manifests;
      TRY_WITH(RecordTree(descriptor, 0), "importing {}", descriptor.digest.text());
      AddManifest(descriptor, TRY(NamesOf(descriptor, docker_names)));
    }
    if (manifests == 0) return InvalidArgument("it holds no image: its index is empty");
    return AddIndex(index, index_text_);
  }

  // Several when docker's manifest.json has more tags for one image.
  Result<std::vector<NamesInArchive>> NamesOf(
      const oci::Descriptor& descriptor,
      const std::map<std::string, std::vector<std::string>>& docker_names) {
    auto annotation = [&](const char* key) {
      auto found = descriptor.annotations.find(key);
      return found == descriptor.annotations.end() ? std::string() : found->second;
    };
    std::string full = annotation("io.containerd.image.name");
    std::string ref = annotation("org.opencontainers.image.ref.name");
    if (!full.empty()) return std::vector<NamesInArchive>{{.full = TRY(Normalised(full))}};
    std::vector<NamesInArchive> names;
    if (oci::IsManifest(descriptor.media_type)) {
      std::string text = TRY(library_.blobs->ReadBlob(descriptor.digest, oci::kMaxDocumentBytes));
      oci::Manifest manifest = TRY(oci::ParseManifest(text, descriptor.media_type));
      auto found = docker_names.find(manifest.config.digest.text());
      if (found != docker_names.end()) {
        for (const std::string& name : found->second) names.push_back({.full = name});
      }
    }
    if (!names.empty()) return names;
    // skopeo and umoci write a whole name or a tag; a tag alone names no image.
    bool whole = ref.find_first_of("/:") != std::string::npos;
    return std::vector<NamesInArchive>{{.ref = whole ? TRY(Normalised(ref)) : ref}};
  }

  void AddManifest(oci::Descriptor target, const std::vector<NamesInArchive>& names) {
    target.annotations.clear();
    for (const NamesInArchive& one : names) {
      for (const std::string& name : ManifestNames(options_.rules, one, target.digest)) {
        AddImage(name, target);
      }
    }
  }

  // `text` becomes a blob when the index is to have a name.
  Result<> AddIndex(const oci::Index& index, const std::string& text) {
    oci::Descriptor target{.media_type = index.media_type,
                           .digest = Digest::Of(text),
                           .size = static_cast<int64_t>(text.size())};
    std::vector<std::string> names = IndexNames(options_.index_name, options_.rules, target.digest);
    if (names.empty()) return {};
    auto put = [&]() -> Result<> {
      TRY(content::PutBlob(*library_.blobs, library_.ns, text));
      return {};
    };
    TRY(library_.records->CommitBlob(put, {target.digest, text.size(), ReferenceLabels(index)}));
    for (const std::string& name : names) AddImage(name, target);
    return {};
  }

  static Result<std::string> Normalised(const std::string& name) {
    return formats::WithDefaultTag(TRY(formats::ParseReference(name))).ToString();
  }

  // Checks and records a manifest or an index with all that it names. Of an index, manifests whose
  // blobs are not in the archive are left out: an archive for one platform of many.
  Result<> RecordTree(const oci::Descriptor& descriptor, int depth) {
    if (depth > 4) return InvalidArgument("indexes within indexes");
    TRY(CheckBlob(descriptor));
    std::string text = TRY(library_.blobs->ReadBlob(descriptor.digest, oci::kMaxDocumentBytes));
    Labels labels;
    if (oci::IsIndex(descriptor.media_type)) {
      oci::Index index = TRY(oci::ParseIndex(text, descriptor.media_type));
      labels = ReferenceLabels(index);
      size_t present = 0;
      size_t unwanted = 0;
      for (const oci::Descriptor& inner : index.manifests) {
        if (!IsWanted(inner)) {
          // Its blobs were stored before it was known whose they are. What nothing refers to goes
          // with the request's lease. A label of an earlier import stays.
          std::erase_if(labels,
                        [&](const auto& label) { return label.second == inner.digest.text(); });
          ++unwanted;
          continue;
        }
        if (!library_.blobs->Stat(inner.digest).ok()) continue;
        if (!oci::IsManifest(inner.media_type) && !oci::IsIndex(inner.media_type)) continue;
        TRY_WITH(RecordTree(inner, depth + 1), "reading manifest {}", inner.digest.text());
        ++present;
      }
      if (present == 0 && unwanted > 0) return NotWanted();
      if (present == 0 && !index.manifests.empty()) {
        return InvalidArgument("none of the manifests of the index is in the archive");
      }
    } else {
      oci::Manifest manifest = TRY(oci::ParseManifest(text, descriptor.media_type));
      TRY_WITH(RecordBlob(manifest.config, {}), "reading the image configuration");
      for (const oci::Descriptor& layer : manifest.layers) {
        TRY_WITH(RecordBlob(layer, {}), "reading layer {}", layer.digest.text());
      }
      labels = ReferenceLabels(manifest);
    }
    return RecordBlob(descriptor, labels);
  }

  Error NotWanted() const {
    std::string list;
    for (const oci::Platform& wanted : options_.platforms) {
      list += (list.empty() ? "" : " ") + wanted.ToString();
    }
    return NotFound("requested platform(s) ([{}]) not found", list);
  }

  bool IsWanted(const oci::Descriptor& manifest) const {
    if (options_.platforms.empty() || !manifest.platform.has_value()) return true;
    return std::any_of(options_.platforms.begin(), options_.platforms.end(),
                       [&](const oci::Platform& wanted) {
                         return oci::MatchPlatform(wanted, *manifest.platform) > 0;
                       });
  }

  Result<> CheckBlob(const oci::Descriptor& descriptor) {
    auto info = library_.blobs->Stat(descriptor.digest);
    if (!info.ok() && info.error().kind() == ErrorKind::kNotFound) {
      return InvalidArgument("blob {} is missing in the archive", descriptor.digest.text());
    }
    if (TRY(std::move(info)).size != static_cast<uint64_t>(descriptor.size)) {
      return InvalidArgument("blob {} has another size than its descriptor says",
                             descriptor.digest.text());
    }
    return {};
  }

  Result<> RecordBlob(const oci::Descriptor& descriptor, const Labels& labels) {
    TRY(CheckBlob(descriptor));
    return library_.records->PutBlob(
        {descriptor.digest, static_cast<uint64_t>(descriptor.size), labels});
  }

  // ---- docker's manifest.json

  Result<std::vector<DockerImage>> ParseDocker() {
    Json json = TRY_WITH(Json::Parse(docker_text_), "reading 'manifest.json'");
    if (!json.is_array()) return InvalidArgument("reading 'manifest.json': expected an array");
    std::vector<DockerImage> entries;
    for (size_t i = 0; i < json.size(); ++i) {
      formats::JsonReader reader(json.at(i), fmt::format("manifest.json[{}]", i));
      DockerImage& entry = entries.emplace_back();
      reader.Field("Config", &entry.config);
      reader.Field("RepoTags", &entry.repo_tags);
      reader.Field("Layers", &entry.layers);
      TRY(reader.Finish());
    }
    return entries;
  }

  // Names by the digest of the configuration.
  Result<std::map<std::string, std::vector<std::string>>> DockerNames() {
    std::map<std::string, std::vector<std::string>> names;
    for (const DockerImage& entry : TRY(ParseDocker())) {
      const Stored* config = Find(CleanName(entry.config));
      if (config == nullptr) continue;
      for (const std::string& tag : entry.repo_tags) {
        names[config->digest.text()].push_back(TRY(Normalised(tag)));
      }
    }
    return names;
  }

  Result<> ImportDocker() {
    oci::Index index{.media_type = std::string(oci::kOciIndex)};
    for (const DockerImage& entry : TRY(ParseDocker())) {
      oci::Descriptor target =
          TRY_WITH(MakeManifest(entry), "importing image with configuration '{}'", entry.config);
      std::vector<NamesInArchive> names;
      for (const std::string& tag : entry.repo_tags)
        names.push_back({.full = TRY(Normalised(tag))});
      if (names.empty()) names.emplace_back();
      AddManifest(target, names);
      for (const NamesInArchive& one : names) {
        index.manifests.push_back(target);
        if (one.full.empty()) continue;
        index.manifests.back().annotations["io.containerd.image.name"] = one.full;
      }
    }
    if (index.manifests.empty()) return InvalidArgument("it holds no image: its list is empty");
    return AddIndex(index, oci::ToJson(index).Dump());
  }

  // Docker's archive has no manifests: writes the one that its files amount to.
  Result<oci::Descriptor> MakeManifest(const DockerImage& entry) {
    const Stored* config = Find(CleanName(entry.config));
    if (config == nullptr) return InvalidArgument("'{}' is missing in the archive", entry.config);
    TRY(CheckConfigName(entry.config, config->digest));
    std::string text = TRY(library_.blobs->ReadBlob(config->digest, oci::kMaxDocumentBytes));
    oci::ImageConfig parsed = TRY(oci::ParseImageConfig(text));
    if (parsed.diff_ids.size() != entry.layers.size()) {
      return InvalidArgument("{} layers, but the configuration names {}", entry.layers.size(),
                             parsed.diff_ids.size());
    }
    oci::Manifest manifest;
    manifest.media_type = oci::kDockerManifest;
    manifest.config = {.media_type = std::string(oci::kDockerConfig),
                       .digest = config->digest,
                       .size = static_cast<int64_t>(config->size)};
    TRY(RecordBlob(manifest.config, {}));
    for (size_t i = 0; i < entry.layers.size(); ++i) {
      const Stored* layer = Find(CleanName(entry.layers[i]));
      if (layer == nullptr)
        return InvalidArgument("'{}' is missing in the archive", entry.layers[i]);
      manifest.layers.push_back(LayerDescriptor(*layer));
      Labels labels;
      if (manifest.layers.back().media_type == oci::kDockerLayer) {
        // Not compressed: its digest must be the diff id.
        if (layer->digest != parsed.diff_ids[i]) {
          return InvalidArgument("layer '{}' has digest {}, the configuration says {}",
                                 entry.layers[i], layer->digest.text(), parsed.diff_ids[i].text());
        }
        labels["containerd.io/uncompressed"] = layer->digest.text();
      }
      TRY(RecordBlob(manifest.layers.back(), labels));
    }
    std::string document = oci::ToJson(manifest).Dump();
    oci::Descriptor target{.media_type = manifest.media_type,
                           .digest = Digest::Of(document),
                           .size = static_cast<int64_t>(document.size())};
    auto put = [&]() -> Result<> {
      TRY(content::PutBlob(*library_.blobs, library_.ns, document));
      return {};
    };
    TRY(library_.records->CommitBlob(put,
                                     {target.digest, document.size(), ReferenceLabels(manifest)}));
    return target;
  }

  // "HEX.json" of docker names the configuration by its digest, which is the image's id.
  static Result<> CheckConfigName(const std::string& name, const Digest& digest) {
    std::string base = name.substr(name.rfind('/') + 1);
    if (base.size() > 5 && base.compare(base.size() - 5, 5, ".json") == 0) {
      base.resize(base.size() - 5);
    }
    auto named = Digest::Parse("sha256:" + base);
    if (named.ok() && *named != digest) {
      return InvalidArgument("'{}' has digest {}", name, digest.text());
    }
    return {};
  }

  static oci::Descriptor LayerDescriptor(const Stored& layer) {
    std::string_view media_type = oci::kDockerLayer;
    switch (formats::compression::Detect(layer.first_bytes)) {
      case formats::compression::Kind::kGzip:
        media_type = oci::kDockerLayerGzip;
        break;
      case formats::compression::Kind::kZstd:
        media_type = oci::kDockerLayerZstd;
        break;
      case formats::compression::Kind::kNone:
        break;
    }
    return {.media_type = std::string(media_type),
            .digest = layer.digest,
            .size = static_cast<int64_t>(layer.size)};
  }

  void AddImage(const std::string& name, const oci::Descriptor& target) {
    for (const ImageRecord& image : images_) {
      if (image.name == name && image.target.digest == target.digest) return;
    }
    ImageRecord image{.name = name, .target = target, .labels = options_.labels};
    if (!options_.index_name.empty() && name != options_.index_name) {
      // It goes with the index, and is kept by nothing else.
      image.labels["containerd.io/gc.bref.image"] = options_.index_name;
      image.labels["containerd.io/gc.expire"] = FormatRfc3339Nano(WallClock::now());
    }
    images_.push_back(std::move(image));
  }

  const Library& library_;
  const ImportOptions& options_;
  std::string index_text_;
  std::string docker_text_;
  std::map<std::string, Stored> files_;
  std::map<std::string, std::string> links_;
  std::vector<ImageRecord> images_;
};

}  // namespace

Result<std::vector<ImageRecord>> Import(const Library& library, ByteSource& archive,
                                        const ImportOptions& options) {
  return TRY_WITH(Importer(library, options).Run(archive), "importing archive");
}

}  // namespace gantry::images
