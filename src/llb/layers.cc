// SPDX-License-Identifier: Apache-2.0
//
// Merge and diff: layers that are there already, on top of others.
#include <algorithm>
#include <utility>

#include "engine/new_image.h"
#include "llb/solver.h"

namespace gantry::llb {

using build::StageState;

Result<> Solver::PutOnTop(Work* work, const engine::NewLayer& layer, const std::string& created_by,
                          StageState* state) {
  Step step{build::HexDigest(fmt::format("{}\nllb layer {}", state->cache_key, layer.diff_id)),
            created_by};
  const std::string below = state->chain_id;
  return Take(
      work, step,
      [&](const engine::Lease& lease) -> Result<std::optional<engine::NewLayer>> {
        TRY(engine_.containerd().AddToLease(lease.id(), "content", layer.blob.digest));
        TRY(engine::UnpackLayer(engine_, lease, below, layer));
        return std::optional(layer);
      },
      state);
}

Result<> Solver::RunMerge(Work* work) {
  StageState state = build::StateOfScratch();
  bool is_first = true;
  for (const pb::MergeInput& one : work->vertex.op.merge().inputs()) {
    StageState input = InputOf(*work, one.input());
    if (std::exchange(is_first, false)) {
      state = std::move(input);
      continue;
    }
    for (size_t i = 0; i < input.layers.size(); ++i) {
      TRY(PutOnTop(work, {input.layers[i], input.diff_ids[i]}, work->vertex.name, &state));
    }
  }
  work->outputs[0] = std::move(state);
  return {};
}

Result<> Solver::RunDiff(Work* work) {
  const pb::DiffOp& diff = work->vertex.op.diff();
  StageState lower = InputOf(*work, diff.has_lower() ? diff.lower().input() : -1);
  StageState upper = InputOf(*work, diff.has_upper() ? diff.upper().input() : -1);
  StageState state = build::StateOfScratch();
  bool above = lower.diff_ids.size() <= upper.diff_ids.size() &&
               std::equal(lower.diff_ids.begin(), lower.diff_ids.end(), upper.diff_ids.begin());
  if (above) {
    for (size_t i = lower.layers.size(); i < upper.layers.size(); ++i) {
      TRY(PutOnTop(work, {upper.layers[i], upper.diff_ids[i]}, work->vertex.name, &state));
    }
  } else {
    Step step{build::HexDigest(fmt::format("llb diff\n{}\n{}", lower.chain_id, upper.chain_id)),
              work->vertex.name};
    TRY(Take(
        work, step,
        [&](const engine::Lease& lease) -> Result<std::optional<engine::NewLayer>> {
          auto layer = TRY(engine::DiffCommitted(engine_, lease, lower.chain_id, upper.chain_id));
          if (layer) TRY(engine::UnpackLayer(engine_, lease, "", *layer));
          return layer;
        },
        &state));
  }
  work->outputs[0] = std::move(state);
  return {};
}

}  // namespace gantry::llb
