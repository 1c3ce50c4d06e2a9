// SPDX-License-Identifier: Apache-2.0
#include "build/cache_transfer.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <set>
#include <utility>

#include "base/byte_stream.h"
#include "base/io.h"
#include "engine/new_image.h"
#include "formats/base64.h"
#include "formats/compression/compression.h"
#include "formats/digest.h"
#include "kernel/paths.h"
#include "oci/image_spec.h"
#include "oci/platform.h"

namespace gantry::build {
namespace {

using formats::Json;

// Collects layers and records once each.
class DocumentMaker {
 public:
  explicit DocumentMaker(const Cache& cache) : cache_(cache) {}

  void Add(const StageState& stage) {
    // Layers by the chain of what is below them: the same blob may be at several places.
    std::vector<int> layers;
    std::string chain;
    for (size_t i = 0; i < stage.layers.size() && i < stage.diff_ids.size(); ++i) {
      chain = engine::ChainId(chain, stage.diff_ids[i]);
      int below = layers.empty() ? -1 : layers.back();
      auto [known, is_new] = layers_.try_emplace(chain, static_cast<int>(out_.layers.size()));
      if (is_new) {
        out_.layers.push_back({{stage.layers[i], stage.diff_ids[i]}, below, stage.created});
      }
      layers.push_back(known->second);
    }
    std::vector<CachedStep> steps;  // the last one first
    for (auto step = cache_.Get(stage.cache_key); step; step = cache_.Get(step->parent)) {
      steps.push_back(*step);
      // Two records that name each other are somebody else's doing.
      if (steps.size() > stage.history.size()) break;
    }
    auto with_layer = std::count_if(steps.begin(), steps.end(),
                                    [](const CachedStep& step) { return step.layer.has_value(); });
    auto next = static_cast<size_t>(with_layer);
    if (next > layers.size()) return;
    next = layers.size() - next;  // the base's
    int parent = -1;
    for (auto step = steps.rbegin(); step != steps.rend(); ++step) {
      int layer = step->layer ? layers[next++] : -1;
      if (layer >= 0) out_.layers[static_cast<size_t>(layer)].created = step->created;
      auto [known, is_new] = records_.try_emplace(step->key, static_cast<int>(out_.records.size()));
      if (is_new) {
        out_.records.push_back({step->key, parent, layer, step->created, step->description});
      }
      parent = known->second;
    }
  }

  CacheDocument Take() { return std::move(out_); }

 private:
  const Cache& cache_;
  CacheDocument out_;
  std::map<std::string, int> layers_;
  std::map<std::string, int> records_;
};

Json LayerJson(const CacheLayer& one) {
  Json json = engine::DescriptorJson(one.layer.blob);
  json.Set("annotations", Json::MakeObject({{"buildkit/createdat", one.created},
                                            {"containerd.io/uncompressed", one.layer.diff_id}}));
  return json;
}

// A document of the place, whose digest is checked.
Result<std::string> ReadText(CachePlace& place, const oci::Descriptor& document) {
  if (document.size < 0 || document.size > static_cast<int64_t>(oci::kMaxDocumentBytes)) {
    return InvalidArgument("{} is too large for a cache", document.digest.text());
  }
  std::string text;
  auto take = [&](std::string_view piece) -> Result<> {
    text += piece;
    if (text.size() <= oci::kMaxDocumentBytes) return {};
    return InvalidArgument("{} is too large for a cache", document.digest.text());
  };
  TRY(place.ReadBlob({document.media_type, document.digest.text(), document.size}, take));
  if (formats::Digest::Of(text, document.digest.algorithm()) == document.digest) return text;
  return InvalidArgument("what came for {} has another digest", document.digest.text());
}

// Layers that the manifest does not list can't be fetched.
Result<> CheckListed(const CacheDocument& cache, const std::vector<oci::Descriptor>& listed) {
  std::map<std::string, int64_t> sizes;
  for (const oci::Descriptor& one : listed) sizes[one.digest.text()] = one.size;
  for (const CacheLayer& layer : cache.layers) {
    const client::Descriptor& blob = layer.layer.blob;
    auto found = sizes.find(blob.digest);
    if (found == sizes.end()) {
      return InvalidArgument("the cache's layer {} is not in its manifest", blob.digest);
    }
    if (blob.size != 0 && blob.size != found->second) {
      return InvalidArgument("the cache's layer {} has another size in its manifest", blob.digest);
    }
  }
  return {};
}

Result<CacheDocument> ReadInline(CachePlace& place, const oci::Manifest& manifest) {
  std::string text = TRY(ReadText(place, manifest.config));
  Json json = TRY(Json::Parse(text));
  const Json* cache = json.Find(kInlineCache);
  if (cache == nullptr) return NotFound("the image {} has no cache in it", place.name());
  oci::ImageConfig config = TRY(oci::ParseImageConfig(text));
  if (config.diff_ids.size() != manifest.layers.size()) {
    return InvalidArgument("the image {} has other layers than its configuration", place.name());
  }
  std::vector<engine::NewLayer> layers;
  for (size_t i = 0; i < manifest.layers.size(); ++i) {
    const oci::Descriptor& blob = manifest.layers[i];
    layers.push_back({{blob.media_type, blob.digest.text(), blob.size}, config.diff_ids[i].text()});
  }
  std::string records =
      TRY_WITH(formats::DecodeBase64(cache->AsString()), "the cache in the image's configuration");
  return ParseInlineCache(records, layers);
}

Result<CacheDocument> ReadListed(CachePlace& place, const oci::Descriptor& config,
                                 const std::vector<oci::Descriptor>& listed) {
  CacheDocument cache = TRY(ParseCacheDocument(TRY(ReadText(place, config))));
  TRY(CheckListed(cache, listed));
  return cache;
}

Result<CacheDocument> ReadDocument(CachePlace& place) {
  std::string text = TRY(place.ReadManifest());
  Json json = TRY(Json::Parse(text));
  if (!json["manifests"].is_null()) {
    oci::Index index = TRY(oci::ParseIndex(text, ""));
    for (const oci::Descriptor& one : index.manifests) {
      if (one.media_type == kCacheConfigType) return ReadListed(place, one, index.manifests);
    }
    oci::Descriptor chosen = TRY(oci::SelectPlatform(index, oci::HostPlatform()));
    text = TRY(ReadText(place, chosen));
  }
  oci::Manifest manifest = TRY(oci::ParseManifest(text, ""));
  if (manifest.config.media_type == kCacheConfigType) {
    return ReadListed(place, manifest.config, manifest.layers);
  }
  return ReadInline(place, manifest);
}

// Into the file, which is at its beginning, as it is fetched.
Result<> Download(CachePlace& place, const client::Descriptor& blob, BorrowedFd file) {
  formats::Digest digest = TRY(formats::Digest::Parse(blob.digest));
  formats::Hasher hash(digest.algorithm());
  int64_t size = 0;
  TRY(place.ReadBlob(blob, [&](std::string_view piece) -> Result<> {
    size += static_cast<int64_t>(piece.size());
    if (size > blob.size) return InvalidArgument("{} is larger than it says", blob.digest);
    hash.Update(piece);
    return WriteAll(file, piece);
  }));
  if (size == blob.size && hash.Current() == digest) return {};
  return InvalidArgument("what came for {} has another digest", blob.digest);
}

Result<> Rewind(BorrowedFd file) {
  if (::lseek(file.get(), 0, SEEK_SET) == 0) return {};
  return ErrnoError("reading a layer of a cache");
}

Result<> CheckUnpacked(BorrowedFd file, const std::string& diff_id) {
  formats::Digest wanted = TRY(formats::Digest::Parse(diff_id));
  TRY(Rewind(file));
  FdSource compressed{BorrowedFd(file)};
  auto plain = TRY(formats::compression::Decompress(compressed));
  formats::Hasher hash(wanted.algorithm());
  for (;;) {
    std::string_view piece = TRY(plain->Next());
    if (piece.empty()) break;
    hash.Update(piece);
  }
  if (hash.Current() == wanted) return {};
  return InvalidArgument("what it unpacks to is not {}", diff_id);
}

}  // namespace

CacheDocument DocumentOfStages(const Cache& cache, const std::vector<StageState>& stages) {
  DocumentMaker maker(cache);
  for (const StageState& stage : stages) maker.Add(stage);
  return maker.Take();
}

Result<std::optional<client::Descriptor>> WriteCache(engine::Engine& engine,
                                                     const CacheDocument& document, CacheForm form,
                                                     CachePlace& place) {
  if (document.layers.empty()) return std::optional<client::Descriptor>();
  std::set<std::string> written;
  Json layers = Json::MakeArray();
  for (const CacheLayer& one : document.layers) {
    const client::Descriptor& blob = one.layer.blob;
    if (!written.insert(blob.digest).second) continue;
    auto read = [&](uint64_t offset, uint64_t size, const CachePlace::Take& take) {
      return engine.containerd().ReadBlobPart(blob.digest, offset, size, take);
    };
    TRY_WITH(place.WriteBlob(blob, read), "writing layer {}", blob.digest);
    layers.Append(LayerJson(one));
  }
  std::string text = ToJson(document).Dump();
  client::Descriptor config = engine::DescriptorOf(kCacheConfigType, text);
  auto read = [&](uint64_t offset, uint64_t size, const CachePlace::Take& take) {
    return take(std::string_view(text).substr(offset, size));
  };
  TRY_WITH(place.WriteBlob(config, read), "writing config {}", config.digest);
  Json json = Json::MakeObject({{"schemaVersion", 2}});
  if (form == CacheForm::kManifest) {
    json.Set("mediaType", oci::kOciManifest);
    json.Set("config", engine::DescriptorJson(config));
    json.Set("layers", std::move(layers));
  } else {
    layers.Append(engine::DescriptorJson(config));
    json.Set("mediaType", oci::kOciIndex);
    json.Set("manifests", std::move(layers));
  }
  std::string manifest = json.Dump();
  client::Descriptor descriptor = engine::DescriptorOf(json["mediaType"].AsString(), manifest);
  TRY_WITH(place.WriteManifest(descriptor, manifest), "writing cache manifest {}",
           descriptor.digest);
  return std::optional(std::move(descriptor));
}

void SetInlineCache(const CacheDocument& document, StageState* image) {
  image->document.Set(kInlineCache, formats::EncodeBase64(RecordsToJson(document).Dump()));
}

CacheImport::CacheImport(CacheDocument document, std::shared_ptr<CachePlace> place)
    : document_(std::move(document)), place_(std::move(place)) {
  for (size_t i = 0; i < document_.records.size(); ++i) by_key_[document_.records[i].key] = i;
}

const CacheRecord* CacheImport::Find(const std::string& key) const {
  auto found = by_key_.find(key);
  if (found == by_key_.end()) return nullptr;
  const CacheRecord& record = document_.records[found->second];
  return record.created.empty() ? nullptr : &record;
}

Result<engine::NewLayer> CacheImport::FetchLayer(const CacheRecord& record,
                                                 const engine::Lease& lease,
                                                 BorrowedFd directory) const {
  constexpr const char* kName = "layer";
  const engine::NewLayer& layer = document_.layers[static_cast<size_t>(record.layer)].layer;
  UniqueFd file = TRY(kernel::OpenIn(directory, kName, O_RDWR | O_CREAT | O_EXCL, 0600));
  if (::unlinkat(directory.get(), kName, 0) != 0) return ErrnoError("fetching a layer of a cache");
  TRY(Download(*place_, layer.blob, file));
  TRY_WITH(CheckUnpacked(file, layer.diff_id), "layer {}", layer.blob.digest);
  TRY(Rewind(file));
  FdSource source{BorrowedFd(file)};
  auto writer = TRY(lease.OpenBlob());
  for (;;) {
    std::string_view piece = TRY(source.Next());
    if (piece.empty()) break;
    TRY(writer->Write(piece));
  }
  TRY(writer->Commit({{"containerd.io/uncompressed", layer.diff_id}}));
  return layer;
}

Result<std::shared_ptr<const CacheImport>> ReadCache(std::shared_ptr<CachePlace> place) {
  CacheDocument document = TRY(ReadDocument(*place));
  return std::make_shared<const CacheImport>(std::move(document), std::move(place));
}

}  // namespace gantry::build
