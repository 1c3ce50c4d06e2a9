// SPDX-License-Identifier: Apache-2.0
#include "build/cache_sources.h"

#include <algorithm>

namespace gantry::build {
namespace {

using formats::Json;

bool IsEmpty(const Json& entry) { return entry["empty_layer"].AsBool(); }

// Whether the image begins with what the state has so far.
bool BeginsWith(const engine::ImageDocuments& image, const StageState& state) {
  const Json& history = image.config_json["history"];
  const auto& layers = image.config.diff_ids;
  if (history.size() < state.history.size() || layers.size() < state.diff_ids.size()) return false;
  for (size_t i = 0; i < state.history.size(); ++i) {
    const Json& theirs = history.at(i);
    const Json& ours = state.history.at(i);
    if (theirs["created_by"].AsString() != ours["created_by"].AsString()) return false;
    if (IsEmpty(theirs) != IsEmpty(ours)) return false;
  }
  return std::equal(state.diff_ids.begin(), state.diff_ids.end(), layers.begin(),
                    [](const std::string& a, const formats::Digest& b) { return a == b.text(); });
}

}  // namespace

std::optional<CacheSources::Step> CacheSources::Find(const StageState& state,
                                                     const std::string& created_by) const {
  for (const engine::NamedImage& image : images_) {
    const engine::ImageDocuments& documents = *image.documents;
    const Json& history = documents.config_json["history"];
    const size_t next = state.history.size();
    if (!BeginsWith(documents, state) || history.size() <= next) continue;
    const Json& entry = history.at(next);
    if (entry["created_by"].AsString() != created_by) continue;
    Step step{entry["created"].AsString(), {}};
    if (IsEmpty(entry)) return step;
    const size_t layer = state.diff_ids.size();
    const auto& layers = documents.manifest.layers;
    if (layer >= documents.config.diff_ids.size() || layer >= layers.size()) continue;
    const oci::Descriptor& blob = layers[layer];
    step.layer = engine::NewLayer{{blob.media_type, blob.digest.text(), blob.size},
                                  documents.config.diff_ids[layer].text()};
    return step;
  }
  return std::nullopt;
}

}  // namespace gantry::build
