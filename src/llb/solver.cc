// SPDX-License-Identifier: Apache-2.0
#include "llb/solver.h"

#include <set>

#include "base/clock.h"
#include "base/log.h"
#include "build/layout_images.h"
#include "build/step_layers.h"

namespace gantry::llb {

using build::StageState;

Result<std::unique_ptr<Solver>> Solver::Create(engine::Engine& engine, build::Cache& cache,
                                               Environment environment, const StopToken& stop) {
  build::Context context = TRY(build::Context::Create(engine));
  std::unique_ptr<Solver> solver(
      new Solver(engine, cache, std::move(environment), std::move(context), stop));
  solver->nothing_ = TRY(solver->context_.MakeDirectory("nothing"));
  return solver;
}

Solver::Solver(engine::Engine& engine, build::Cache& cache, Environment environment,
               build::Context context, const StopToken& stop)
    : engine_(engine),
      environment_(std::move(environment)),
      context_(std::move(context)),
      stop_(stop),
      cache_(cache),
      views_(engine),
      mounter_({engine_, environment_.request, context_, views_, cache, stop_}) {}

Solver::~Solver() { build::DropLayoutImages(engine_, layouts_); }

Result<StageState> Solver::Solve(const Graph& graph) {
  std::vector<std::set<int64_t>> wished(graph.vertices.size());
  for (const Vertex& vertex : graph.vertices) {
    for (const Edge& edge : vertex.inputs) wished[edge.vertex].insert(edge.output);
  }
  wished[graph.result.vertex].insert(graph.result.output);
  std::vector<Outputs> made;
  for (const Vertex& vertex : graph.vertices) {
    if (stop_.stop_requested()) return MakeError(ErrorKind::kCancelled, "the build was cancelled");
    Work work{vertex, {}, {}};
    for (const Edge& edge : vertex.inputs) {
      work.inputs.push_back(&made[edge.vertex].at(edge.output));
    }
    work.wished = std::move(wished[made.size()]);
    environment_.begin(vertex);
    Result<> run = Run(&work);
    if (run.ok() && work.was_cached) environment_.cached(vertex);
    environment_.end(vertex, run.ok() ? "" : run.error().message());
    TRY(run);
    for (const auto& [number, state] : work.outputs) stages_.push_back(state);
    made.push_back(std::move(work.outputs));
  }
  return made[graph.result.vertex].at(graph.result.output);
}

Result<> Solver::Run(Work* work) {
  const pb::Op& op = work->vertex.op;
  if (op.has_source()) return RunSource(work);
  if (op.has_exec()) return RunExec(work);
  if (op.has_file()) return RunFile(work);
  if (op.has_build()) return RunBuild(work);
  if (op.has_passthrough()) {
    const auto& outputs = op.passthrough().outputs();
    for (int i = 0; i < outputs.size(); ++i) work->outputs[i] = InputOf(*work, outputs[i]);
    return {};
  }
  return op.has_merge() ? RunMerge(work) : RunDiff(work);
}

Result<BorrowedFd> Solver::OpenFiles(const StageState& state) {
  if (!state.chain_id.empty()) return views_.Open(state.chain_id);
  return BorrowedFd(nothing_);
}

StageState Solver::InputOf(const Work& work, int64_t index) {
  return index < 0 ? build::StateOfScratch() : *work.inputs[static_cast<size_t>(index)];
}

Result<bool> Solver::TakeCached(Work* work, const Step& step, StageState* state) {
  if (work->vertex.ignores_cache) return false;
  auto known = cache_.Find(step.key);
  if (!known) {
    known = TRY(build::ImportStep({engine_, cache_, context_, environment_.request.cache_imports},
                                  step.key, step.created_by, *state));
  }
  if (!known) return false;
  build::AddStep(step.created_by, known->created, known->layer, state);
  state->cache_key = step.key;
  return true;
}

Result<> Solver::Remember(const Step& step, std::optional<engine::NewLayer> layer,
                          engine::Lease lease, StageState* state) {
  build::StepRecord record;
  record.key = step.key;
  record.created_by = step.created_by;
  record.layer = std::move(layer);
  record.lease.emplace(std::move(lease));
  return build::RememberStep(engine_, cache_, std::move(record), state);
}

Result<> Solver::Take(Work* work, const Step& step, const Make& make, StageState* state) {
  if (TRY(TakeCached(work, step, state))) return {};
  work->was_cached = false;
  engine::Lease lease = TRY(engine::Lease::TakeLasting(engine_.containerd(), build::kLeasePrefix));
  auto layer = TRY(make(lease));
  return Remember(step, std::move(layer), std::move(lease), state);
}

}  // namespace gantry::llb
