// SPDX-License-Identifier: Apache-2.0
#include "build/squash.h"

#include <fmt/format.h>

#include <optional>
#include <utility>

namespace gantry::build {
namespace {

using formats::Json;

// The base's entries, those of the build without their layers, and what was done here, in docker's
// words.
Json SquashedHistory(const StageState& state, size_t base_entries, const std::string& created,
                     bool has_layer) {
  Json history = Json::MakeArray();
  for (size_t i = 0; i < state.history.size(); ++i) {
    Json entry = state.history.at(i);
    if (i >= base_entries) entry.Set("empty_layer", true);
    history.Append(std::move(entry));
  }
  std::string comment =
      state.base ? fmt::format("merge {} to {}", state.image_id, state.base->documents->id)
                 : fmt::format("create new from {}", state.image_id);
  Json entry = Json::MakeObject({{"created", created}, {"comment", comment}});
  if (!has_layer) entry.Set("empty_layer", true);
  history.Append(std::move(entry));
  return history;
}

}  // namespace

Result<StageState> Squash(engine::Engine& engine, const engine::Lease& lease, StageState state) {
  StageState base = state.base ? StateOfImage(*state.base) : StateOfScratch();
  if (state.diff_ids.size() == base.diff_ids.size()) return state;
  std::optional<engine::NewLayer> layer =
      TRY_WITH(engine::DiffCommitted(engine, lease, base.chain_id, state.chain_id), "squashing");
  std::string created = FormatRfc3339Nano(WallClock::now());
  state.history = SquashedHistory(state, base.history.size(), created, layer.has_value());
  state.created = created;
  state.layers = std::move(base.layers);
  state.diff_ids = std::move(base.diff_ids);
  state.chain_id = std::move(base.chain_id);
  if (layer) {
    TRY_WITH(engine::UnpackLayer(engine, lease, state.chain_id, *layer), "squashing");
    state.layers.push_back(layer->blob);
    state.diff_ids.push_back(layer->diff_id);
    state.chain_id = engine::ChainId(state.chain_id, layer->diff_id);
  }
  state.image_id = formats::Digest::Of(DocumentOf(state).Dump()).text();
  return state;
}

}  // namespace gantry::build
