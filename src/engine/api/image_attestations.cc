// SPDX-License-Identifier: Apache-2.0
//
// GET /images/{name}/attestations: the in-toto statements that a builder has attached to an image.
// They are layers of a manifest beside the image's own in its index (BuildKit's way).
#include <algorithm>

#include "engine/api/image_handlers.h"
#include "engine/api/image_json.h"
#include "engine/api/platform_parameter.h"
#include "engine/new_image.h"

namespace gantry::engine::api {
namespace {

using formats::Json;

constexpr int kAttestationsMinor = 55;

// The manifest with the statements about that of `platform`; none: there is none.
Result<std::optional<oci::Manifest>> FindStatements(Engine& engine, const std::string& name,
                                                    const client::Descriptor& target,
                                                    const oci::Platform& platform) {
  std::optional<oci::Manifest> none;
  if (!oci::IsIndex(target.media_type)) return none;
  std::string text = TRY(engine.containerd().ReadBlob(target.digest, oci::kMaxDocumentBytes));
  oci::Index index = TRY(oci::ParseIndex(text, target.media_type));
  oci::Descriptor image = TRY_WITH(oci::SelectPlatform(index, platform), "image '{}'", name);
  for (const oci::Descriptor& one : index.manifests) {
    auto type = one.annotations.find("vnd.docker.reference.type");
    auto subject = one.annotations.find("vnd.docker.reference.digest");
    if (type == one.annotations.end() || type->second != "attestation-manifest") continue;
    if (subject == one.annotations.end() || subject->second != image.digest.text()) continue;
    text = TRY_WITH(engine.containerd().ReadBlob(one.digest.text(), oci::kMaxDocumentBytes),
                    "reading the attestations of '{}'", name);
    return std::optional(TRY(oci::ParseManifest(text, one.media_type)));
  }
  return none;
}

Result<Json> StatementJson(Engine& engine, const oci::Descriptor& layer, const std::string& type,
                           bool whole) {
  Json descriptor = DescriptorJson({layer.media_type, layer.digest.text(), layer.size});
  Json annotations = Json::MakeObject();
  for (const auto& [key, value] : layer.annotations) annotations.Set(key, value);
  descriptor.Set("annotations", std::move(annotations));
  Json out =
      Json::MakeObject({{"Descriptor", std::move(descriptor)}, {"PredicateType", Json(type)}});
  if (!whole) return out;
  std::string text =
      TRY_WITH(engine.containerd().ReadBlob(layer.digest.text(), oci::kMaxDocumentBytes),
               "attestation statement {} is not available locally", layer.digest.text());
  out.Set("Statement",
          TRY_WITH(Json::Parse(text), "attestation statement {}", layer.digest.text()));
  return out;
}

}  // namespace

Result<> ImageAttestations(Call& call) {
  if (call.minor < kAttestationsMinor) return NotFound("page not found");
  auto platforms = TRY(PlatformParameters(call, "platform", kAttestationsMinor));
  if (platforms.size() > 1) {
    return InvalidArgument("only one platform value is currently supported");
  }
  std::vector<std::string> types = call.query().GetAll("type");
  std::erase(types, "");
  NamedImage image = TRY(call.engine().images().Resolve(call.arg()));
  auto manifest = TRY(FindStatements(call.engine(), call.arg(), image.image.target,
                                     platforms.empty() ? oci::HostPlatform() : platforms[0]));
  Json out = Json::MakeArray();
  if (!manifest) return RespondJson(call, 200, std::move(out));
  for (const oci::Descriptor& layer : manifest->layers) {
    auto type = layer.annotations.find("in-toto.io/predicate-type");
    if (type == layer.annotations.end() || type->second.empty()) continue;
    bool wanted =
        types.empty() || std::find(types.begin(), types.end(), type->second) != types.end();
    if (!wanted) continue;
    out.Append(
        TRY(StatementJson(call.engine(), layer, type->second, call.query().GetBool("statement"))));
  }
  return RespondJson(call, 200, std::move(out));
}

}  // namespace gantry::engine::api
