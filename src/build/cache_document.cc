// SPDX-License-Identifier: Apache-2.0
#include "build/cache_document.h"

#include <utility>

#include "base/clock.h"
#include "formats/digest.h"
#include "oci/image_spec.h"

namespace gantry::build {
namespace {

using formats::Json;
using formats::JsonReader;

// As many as a cache of the engine's own has steps at most.
constexpr size_t kMostRecords = 10'000;
constexpr size_t kMostLayers = 10'000;
constexpr const char* kOwn = "gantry";

// Follows each entry's parent to its end.
template <typename Entry>
Result<> CheckParents(const std::vector<Entry>& entries, std::string_view what) {
  enum class Seen : uint8_t { kNo, kOnTheWay, kDone };
  std::vector<Seen> seen(entries.size(), Seen::kNo);
  for (size_t i = 0; i < entries.size(); ++i) {
    std::vector<size_t> way;
    int at = static_cast<int>(i);
    while (at != -1 && seen[static_cast<size_t>(at)] == Seen::kNo) {
      auto number = static_cast<size_t>(at);
      seen[number] = Seen::kOnTheWay;
      way.push_back(number);
      at = entries[number].parent;
      if (at < -1 || at >= static_cast<int>(entries.size())) {
        return InvalidArgument("the cache's {} {} is on top of one that there is not", what,
                               number);
      }
    }
    if (at != -1 && seen[static_cast<size_t>(at)] == Seen::kOnTheWay) {
      return InvalidArgument("the cache's {}s form a loop", what);
    }
    for (size_t number : way) seen[number] = Seen::kDone;
  }
  return {};
}

Result<CacheLayer> ReadLayer(JsonReader& reader) {
  CacheLayer out;
  out.parent = 0;  // as its writer leaves a zero out
  reader.Field("blob", &out.layer.blob.digest);
  reader.Field("parent", &out.parent);
  reader.Object("annotations", [&](JsonReader& inner) {
    inner.Field("mediaType", &out.layer.blob.media_type);
    inner.Field("diffID", &out.layer.diff_id);
    inner.Field("size", &out.layer.blob.size);
    inner.Field("createdAt", &out.created);
  });
  TRY(reader.Finish());
  auto digest = TRY_WITH(formats::Digest::Parse(out.layer.blob.digest), "a layer of the cache");
  if (digest.algorithm() != formats::DigestAlgorithm::kSha256) {
    return Unimplemented("the cache's layer {} has no sha256", digest.text());
  }
  if (!oci::IsLayer(out.layer.blob.media_type) || out.layer.blob.size < 0) {
    return InvalidArgument("the cache's layer {} is no layer", digest.text());
  }
  if (!out.layer.diff_id.empty()) {
    TRY_WITH(formats::Digest::Parse(out.layer.diff_id), "a layer of the cache");
  }
  return out;
}

// One that no list has becomes -2, which none has either.
int IndexIn(const Json& json) {
  constexpr int kNowhere = -2;
  int64_t index = json.AsInt(kNowhere);
  return index < -1 || index > static_cast<int64_t>(kMostRecords) ? kNowhere
                                                                  : static_cast<int>(index);
}

// Inputs beside the first are what a step copies or mounts: they have their part in the key.
Result<CacheRecord> ReadRecord(const JsonReader& reader) {
  CacheRecord out;
  const Json& json = reader.json();
  formats::Digest digest =
      TRY_WITH(formats::Digest::Parse(json["digest"].AsString()), "a record of the cache");
  out.key = digest.hex();
  const Json& first = json["inputs"].at(0).at(0);
  if (!first.is_null()) out.parent = IndexIn(first["link"]);
  const Json& result = json["layers"].at(0);
  if (!result.is_null()) out.layer = IndexIn(result["layer"]);
  out.created = json[kOwn]["created"].AsString();
  out.description = json[kOwn]["description"].AsString();
  if (!out.created.empty()) {
    TRY_WITH(ParseRfc3339(out.created), "the time of a record of the cache");
  }
  return out;
}

Result<> CheckDocument(const CacheDocument& document) {
  TRY(CheckParents(document.layers, "layer"));
  TRY(CheckParents(document.records, "record"));
  for (const CacheRecord& record : document.records) {
    if (record.layer < -1 || record.layer >= static_cast<int>(document.layers.size())) {
      return InvalidArgument("a record of the cache has a layer that there is not");
    }
  }
  return {};
}

Result<> ReadRecords(const Json& list, std::vector<CacheRecord>* out) {
  if (!list.is_array() && !list.is_null()) {
    return InvalidArgument("the cache's records are no list");
  }
  if (list.size() > kMostRecords) {
    return MakeError(ErrorKind::kResourceExhausted, "the cache has more than {} records",
                     kMostRecords);
  }
  for (const Json& one : list.items()) {
    JsonReader reader(one, "record");
    TRY(reader.Finish());
    out->push_back(TRY(ReadRecord(reader)));
  }
  return {};
}

}  // namespace

Json RecordsToJson(const CacheDocument& document) {
  Json list = Json::MakeArray();
  for (const CacheRecord& record : document.records) {
    Json one = Json::MakeObject();
    if (record.layer >= 0) {
      const std::string& created = document.layers[static_cast<size_t>(record.layer)].created;
      one.Set("layers", Json::MakeArray(
                            {Json::MakeObject({{"layer", record.layer}, {"createdAt", created}})}));
    }
    one.Set("digest", "sha256:" + record.key);
    if (record.parent >= 0) {
      Json link = Json::MakeObject({{"link", record.parent}});
      one.Set("inputs", Json::MakeArray({Json::MakeArray({std::move(link)})}));
    }
    one.Set(kOwn,
            Json::MakeObject({{"created", record.created}, {"description", record.description}}));
    list.Append(std::move(one));
  }
  return list;
}

Json ToJson(const CacheDocument& document) {
  Json layers = Json::MakeArray();
  for (const CacheLayer& one : document.layers) {
    const client::Descriptor& blob = one.layer.blob;
    layers.Append(
        Json::MakeObject({{"blob", blob.digest},
                          {"parent", one.parent},
                          {"annotations", Json::MakeObject({{"mediaType", blob.media_type},
                                                            {"diffID", one.layer.diff_id},
                                                            {"size", blob.size},
                                                            {"createdAt", one.created}})}}));
  }
  return Json::MakeObject({{"layers", std::move(layers)}, {"records", RecordsToJson(document)}});
}

Result<CacheDocument> ParseCacheDocument(std::string_view text) {
  Json json = TRY_WITH(Json::Parse(text), "reading the cache");
  if (!json.is_object()) return InvalidArgument("the cache is no object");
  CacheDocument out;
  const Json& layers = json["layers"];
  if (layers.size() > kMostLayers) {
    return MakeError(ErrorKind::kResourceExhausted, "the cache has more than {} layers",
                     kMostLayers);
  }
  for (const Json& one : layers.items()) {
    JsonReader reader(one, "layer");
    TRY(reader.Finish());
    out.layers.push_back(TRY(ReadLayer(reader)));
  }
  TRY(ReadRecords(json["records"], &out.records));
  TRY(CheckDocument(out));
  return out;
}

Result<CacheDocument> ParseInlineCache(std::string_view records,
                                       const std::vector<engine::NewLayer>& layers) {
  CacheDocument out;
  for (const engine::NewLayer& layer : layers) {
    out.layers.push_back({layer, static_cast<int>(out.layers.size()) - 1, ""});
  }
  Json json = TRY_WITH(Json::Parse(records), "reading the cache");
  TRY(ReadRecords(json, &out.records));
  TRY(CheckDocument(out));
  return out;
}

}  // namespace gantry::build
