// SPDX-License-Identifier: Apache-2.0
//
// Runs the operations of a definition (graph.h), each once and after its inputs, with the builder's
// own machinery: leases, snapshots, step containers, and the cache by the digest of all that an
// operation depends on (docs/build.md, "LLB"). What an operation makes is a chain of layers. One
// thread.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/stop_token.h"
#include "build/cache.h"
#include "build/context.h"
#include "build/copy_files.h"
#include "build/materials.h"
#include "build/request.h"
#include "build/snapshot_views.h"
#include "build/stage_state.h"
#include "build/step_mounter.h"
#include "engine/engine.h"
#include "llb/graph.h"

namespace gantry::llb {

// A part of one of the client's directories, in the patterns of .dockerignore.
struct LocalSource {
  std::string name;
  std::vector<std::string> includes;
  std::vector<std::string> excludes;
  std::vector<std::string> followed;
};

struct Environment {
  // What the client answers, and what it grants.
  build::BuildRequest request;
  // Receives a client's directory into an empty one.
  std::function<Result<>(const LocalSource& source, BorrowedFd root)> receive;
  // A result of this engine's other builds, by its name.
  std::function<Result<build::StageState>(const std::string& name)> find_result;
  // Of an operation that is run.
  std::function<void(const Vertex& vertex)> begin;
  std::function<void(const Vertex& vertex)> cached;
  std::function<void(const Vertex& vertex, bool to_stderr, std::string_view text)> log;
  std::function<client::ProgressCallback(const Vertex& vertex)> pull;
  std::function<void(const Vertex& vertex, const std::string& error)> end;
};

// The scheme of a source that is a result of another build.
inline constexpr std::string_view kResultScheme = "gantry-result://";

class Solver {
 public:
  static Result<std::unique_ptr<Solver>> Create(engine::Engine& engine, build::Cache& cache,
                                                Environment environment, const StopToken& stop);
  ~Solver();
  Solver(const Solver&) = delete;
  Solver& operator=(const Solver&) = delete;

  // What the definition's result is: layers, their history, and a configuration without anything.
  Result<build::StageState> Solve(const Graph& graph);
  // Everything that the operations made.
  std::vector<build::StageState> Stages() const { return stages_; }
  // What it was made of.
  std::vector<build::Material> materials() const { return materials_.List(); }
  // Its files, read only, as long as the object lives. Any thread.
  Result<BorrowedFd> OpenFiles(const build::StageState& state);

 private:
  using Outputs = std::map<int64_t, build::StageState>;
  // One operation with what is below it.
  struct Work {
    const Vertex& vertex;
    std::vector<const build::StageState*> inputs;
    Outputs outputs;
    bool was_cached = true;         // all of it
    std::set<int64_t> wished = {};  // the outputs that somebody takes
  };

  Solver(engine::Engine& engine, build::Cache& cache, Environment environment,
         build::Context context, const StopToken& stop);
  Result<> Run(Work* work);

  // The input with that index, or nothing at all.
  static build::StageState InputOf(const Work& work, int64_t index);
  // The state with what a step of that key makes of it, from the cache or by `make`.
  struct Step {
    std::string key;
    std::string created_by;
  };
  using Make = std::function<Result<std::optional<engine::NewLayer>>(const engine::Lease& lease)>;
  Result<> Take(Work* work, const Step& step, const Make& make, build::StageState* state);
  Result<bool> TakeCached(Work* work, const Step& step, build::StageState* state);
  Result<> Remember(const Step& step, std::optional<engine::NewLayer> layer, engine::Lease lease,
                    build::StageState* state);

  // sources.cc
  Result<> RunSource(Work* work);
  Result<build::StageState> FromImage(Work* work, const std::string& name);
  Result<build::StageState> FromLayout(const std::string& text, const pb::SourceOp& source);
  Result<build::StageState> FromLocal(Work* work, const std::string& name);
  Result<build::StageState> FromGit(Work* work, const std::string& text);
  Result<build::StageState> FromWeb(Work* work);
  // A directory's files as a layer, under `key`, or under the digest of its contents for "".
  Result<build::StageState> TakeDirectory(Work* work, BorrowedFd files,
                                          const std::string& key = "");
  static Result<build::StageState> StateOf(const engine::NamedImage& image,
                                           const std::string& name);

  // exec.cc
  Result<> RunExec(Work* work);
  struct ExecPlan;
  Result<> PlanMounts(Work* work, ExecPlan* plan);
  Result<> PlanMount(Work* work, const pb::Mount& mount, ExecPlan* plan);
  Result<> PlanSettings(const pb::ExecOp& exec, ExecPlan* plan) const;
  Result<> MakeWritable(ExecPlan* plan, build::StepMounts* mounts);
  Result<> RunCommand(Work* work, ExecPlan* plan);

  // file_actions.cc
  Result<> RunFile(Work* work);
  struct FileRun;
  Result<build::StageState> TreeAfter(FileRun* run, int64_t index);
  Result<> Act(FileRun* run, const pb::FileAction& action, const build::CopyRequest& request);
  Result<std::string> KeyOfAction(FileRun* run, const pb::FileAction& action);
  Result<std::vector<build::CopySource>> CopySourcesOf(FileRun* run, const pb::FileAction& action);
  Result<std::optional<build::OwnerIds>> OwnerOf(FileRun* run, const pb::ChownOpt& owner);

  // build_op.cc
  Result<> RunBuild(Work* work);

  // layers.cc
  Result<> RunMerge(Work* work);
  Result<> RunDiff(Work* work);
  // One more layer of another chain on top.
  Result<> PutOnTop(Work* work, const engine::NewLayer& layer, const std::string& created_by,
                    build::StageState* state);

  engine::Engine& engine_;
  const Environment environment_;
  build::Context context_;
  const StopToken stop_;
  build::Cache::User cache_;
  build::SnapshotViews views_;
  build::StepMounter mounter_;
  build::Materials materials_;
  std::vector<build::StageState> stages_;
  UniqueFd nothing_;  // an empty directory
  int depth_ = 0;     // of definitions that are built for others
  std::vector<engine::ImageHolds::Hold> holds_;
  std::vector<std::string> layouts_;  // names in the store
};

}  // namespace gantry::llb
