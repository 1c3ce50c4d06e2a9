// SPDX-License-Identifier: Apache-2.0
#include "build/stage_state.h"

#include <utility>

#include "build/cache_document.h"
#include "engine/image_instructions.h"
#include "formats/digest.h"

namespace gantry::build {

using formats::Json;

std::string HexDigest(std::string_view text) {
  return std::string(formats::Digest::Of(text).hex());
}

StageState StateOfScratch(const oci::Platform& platform) {
  StageState state;
  state.platform = platform;
  state.document =
      Json::MakeObject({{"architecture", state.platform.architecture}, {"os", state.platform.os}});
  if (!state.platform.variant.empty()) state.document.Set("variant", state.platform.variant);
  state.history = Json::MakeArray();
  state.cache_key = HexDigest("scratch");
  engine::SetVariable("PATH", kDefaultPath, &state.config);
  return state;
}

StageState StateOfImage(engine::NamedImage image) {
  const engine::ImageDocuments& documents = *image.documents;
  StageState state;
  state.platform = documents.config.platform;
  state.document = documents.config_json;
  state.document.Erase(kInlineCache);  // of the base alone
  // What is not an object was refused when the image's documents were read.
  auto config = engine::ParseContainerConfig(documents.container_config());
  if (config.ok()) state.config = *std::move(config);
  state.author = documents.config.author;
  for (const oci::Descriptor& layer : documents.manifest.layers) {
    state.layers.push_back({layer.media_type, layer.digest.text(), layer.size});
  }
  for (const formats::Digest& diff : documents.config.diff_ids) {
    state.diff_ids.push_back(diff.text());
  }
  state.chain_id = documents.top_chain_id;
  state.history =
      state.document["history"].is_array() ? state.document["history"] : Json::MakeArray();
  state.created = documents.config.created;
  state.image_id = documents.id;
  // The manifest says which blobs the layers are, which the configuration does not.
  state.cache_key = HexDigest("image " + documents.manifest_descriptor.digest);
  state.base = std::move(image);
  if (!engine::VariableOf(state.config, "PATH")) {
    engine::SetVariable("PATH", kDefaultPath, &state.config);
  }
  return state;
}

void AddStep(const std::string& created_by, const std::string& created,
             const std::optional<engine::NewLayer>& layer, StageState* state) {
  Json entry = Json::MakeObject({{"created", created}, {"created_by", created_by}});
  if (!state->author.empty()) entry.Set("author", state->author);
  if (layer) {
    state->layers.push_back(layer->blob);
    state->diff_ids.push_back(layer->diff_id);
    state->chain_id = engine::ChainId(state->chain_id, layer->diff_id);
  } else {
    entry.Set("empty_layer", true);
  }
  state->history.Append(std::move(entry));
  state->created = created;
  state->changed = true;
  state->image_id = formats::Digest::Of(DocumentOf(*state).Dump()).text();
}

Json DocumentOf(const StageState& state) {
  Json document = state.document;
  // What docker remembers of the container that it made the image in.
  for (const char* name : {"container", "container_config", "docker_version"}) document.Erase(name);
  if (!state.author.empty()) document.Set("author", state.author);
  document.Set("config", engine::ImageConfig(state.config));
  document.Set("created", state.created);
  document.Set("history", state.history);
  document.Set("rootfs",
               Json::MakeObject({{"type", "layers"}, {"diff_ids", Json(state.diff_ids)}}));
  return document;
}

}  // namespace gantry::build
