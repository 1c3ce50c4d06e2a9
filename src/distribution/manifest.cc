// SPDX-License-Identifier: Apache-2.0
#include "distribution/manifest.h"

#include "base/text.h"
#include "formats/json.h"
#include "oci/image_spec.h"

namespace gantry::distribution {
namespace {

using formats::Digest;
using formats::Json;

Result<Digest> DigestOf(const Json& descriptor, std::string_view what) {
  return TRY_WITH(Digest::Parse(descriptor["digest"].AsString()), "reading manifest: {}", what);
}

// Layers that may not be distributed have the places where they are.
bool IsElsewhere(const Json& layer) {
  return layer["urls"].is_array() && !layer["urls"].items().empty();
}

}  // namespace

Result<ManifestFacts> ReadManifest(std::string_view text, std::string_view content_type) {
  Json json = TRY_WITH(Json::Parse(text), "reading manifest");
  if (!json.is_object()) return InvalidArgument("reading manifest: no JSON object");
  ManifestFacts facts;
  facts.media_type = Trim(content_type.substr(0, content_type.find(';')));
  const std::string& own = json["mediaType"].AsString();
  if (facts.media_type.empty()) facts.media_type = own;
  if (facts.media_type.empty()) return InvalidArgument("reading manifest: no media type");
  if (!own.empty() && own != facts.media_type) {
    return InvalidArgument("reading manifest: it says '{}', the request '{}'", own,
                           facts.media_type);
  }
  if (json["schemaVersion"].AsInt() == 1) {
    return InvalidArgument("reading manifest: docker's schema 1 is not taken");
  }
  if (json["config"].is_object()) {
    facts.blobs.push_back(TRY(DigestOf(json["config"], "config")));
    facts.artifact_type = json["config"]["mediaType"].AsString();
  }
  for (const Json& layer : json["layers"].items()) {
    Digest digest = TRY(DigestOf(layer, "layers"));
    if (!IsElsewhere(layer)) facts.blobs.push_back(std::move(digest));
  }
  for (const Json& manifest : json["manifests"].items()) {
    facts.manifests.push_back(TRY(DigestOf(manifest, "manifests")));
  }
  if (json["subject"].is_object()) facts.subject = TRY(DigestOf(json["subject"], "subject"));
  if (const std::string& type = json["artifactType"].AsString(); !type.empty()) {
    facts.artifact_type = type;
  }
  for (const auto& [key, value] : json["annotations"].members()) {
    facts.annotations[key] = value.AsString();
  }
  return facts;
}

std::string OwnMediaType(std::string_view text) {
  auto json = Json::Parse(text);
  if (!json.ok()) return "application/octet-stream";
  if (const std::string& own = (*json)["mediaType"].AsString(); !own.empty()) return own;
  return std::string(json->Find("manifests") != nullptr ? oci::kOciIndex : oci::kOciManifest);
}

}  // namespace gantry::distribution
