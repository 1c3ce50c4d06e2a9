// SPDX-License-Identifier: Apache-2.0
//
// A build: the stages of a Dockerfile, each instruction a step, each step from the cache or made
// (docs/build.md). One thread for each stage, of which one is at work at a time, or several.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/byte_stream.h"
#include "base/error.h"
#include "base/mutex.h"
#include "base/stop_token.h"
#include "build/arguments.h"
#include "build/cache.h"
#include "build/cache_sources.h"
#include "build/context.h"
#include "build/copy_files.h"
#include "build/copy_source.h"
#include "build/finish.h"
#include "build/git_source.h"
#include "build/git_url.h"
#include "build/materials.h"
#include "build/once_map.h"
#include "build/request.h"
#include "build/snapshot_views.h"
#include "build/stage_state.h"
#include "build/step_container.h"
#include "build/step_mounter.h"
#include "build/step_mounts.h"
#include "dockerfile/expand.h"
#include "dockerfile/instruction.h"
#include "engine/engine.h"
#include "engine/image_instructions.h"
#include "engine/new_image.h"
#include "formats/digest.h"

namespace gantry::build {

// The whole of POST /build: `body` is the context. A command's failure is no error but an end.
Result<BuildEnd> Build(engine::Engine& engine, Cache& cache, BuildRequest request, ByteSource& body,
                       const BuildOutput& output, const StopToken& stop);

// Of the Dockerfile, from 1; 0: none.
struct Lines {
  int first = 0, last = 0;
};

class Builder {
 public:
  Builder(engine::Engine& engine, Cache& cache, BuildRequest request, Context context,
          const BuildOutput& output, StopToken stop);
  ~Builder();
  Builder(const Builder&) = delete;
  Builder& operator=(const Builder&) = delete;

  // Checks what can be checked without doing anything.
  Result<> Plan(const std::string& text);
  // All steps; image_id of the end is not set yet.
  Result<BuildEnd> Run();
  // Once that went well: the image under the request's names, or as it is wanted. Its id.
  Result<std::string> Store() { return Store({request_.names, {}}); }
  Result<std::string> Store(const StoreAs& as);
  const StageState& result() const { return states_[target_]; }
  StageState& mutable_result() { return states_[target_]; }
  // Those that were made.
  std::vector<StageState> Stages() const;
  // What they were made of, also where a step came from the cache.
  std::vector<Material> materials() const;
  // Of the instruction that has ended Run with an error or a failure.
  Lines failed_lines() const;
  // Its files, read only.
  Result<BorrowedFd> OpenResult();

 private:
  // What the stages have in common.
  struct Common;
  // For the stages one by one.
  Builder(std::shared_ptr<Common> common, StopToken stop);

  // builder.cc
  Result<> RunOneByOne();
  Result<> RunAtOnce();
  // In a builder of its own.
  Result<> RunStage(size_t number, const StopToken& stop);
  Result<> MakeStage(size_t number);
  // Waits for the stages that the instruction names, and makes those that nobody makes. kCancelled
  // when one of them failed.
  Result<> AwaitStagesOf(const dockerfile::Instruction& in);
  Result<> AwaitStage(size_t number);
  // What `target` is made of, as far as the Dockerfile says.
  std::vector<bool> StagesFor(size_t target) const;
  // The stage and those that it needs, unless somebody makes them.
  void MakeUnneeded(size_t number);
  // Whether the stage begins with what must be got first: not with nothing, nor another stage.
  bool BeginsWithImage(size_t number) const;
  // A step that progress shows, from its begin to its end.
  Result<> Shown(const dockerfile::Instruction& in, const std::function<Result<>()>& work);
  void Tell(StepEvent event);
  Result<StageState> Base(size_t number);
  // What is made with an epoch is made of nothing that was made without.
  void MixEpoch(StageState* state) const;
  Result<engine::NamedImage> BaseImage(const std::string& name, const std::string& platform);
  // No budget removes it while the build runs.
  Result<bool> HoldImage(const std::string& name, const std::string& id);
  Result<> FindCacheSources();
  Result<> RunTriggers();
  Result<> Step(const dockerfile::Instruction& in);
  Result<> Declare(const dockerfile::Instruction& in);
  Result<> Configure(const dockerfile::Instruction& in);
  Result<> Say(const std::string& text) { return output_.text(text); }
  dockerfile::Expander ExpanderOfStage() const;

  // steps.cc
  bool SkipsCache() const;
  // The step of that key; else it is this stage's to make, until LetGoOfStep.
  Result<std::optional<CachedStep>> FindOrClaim(const std::string& key);
  void LetGoOfStep();
  // Takes the step from the cache when it is there; waits while another stage makes the same one.
  Result<bool> TakeCached(const std::string& key, const std::string& created_by);
  Result<> Remember(const std::string& key, const std::string& created_by,
                    std::optional<engine::NewLayer> layer, std::optional<engine::Lease> lease);
  // A step whose files `change` makes in a writable snapshot.
  Result<> ChangeFiles(const std::string& key, const std::string& created_by,
                       const std::function<Result<>(BorrowedFd root)>& change);
  Result<> MakeWorkingDirectory(const dockerfile::Instruction& in);
  Result<> RunCommand(const dockerfile::Instruction& in);
  // A command that has failed ends the build.
  Error NoteFailure(const std::string& command, int code);
  // What becomes of a step's container and its snapshot.
  Result<std::optional<engine::NewLayer>> LayerOf(StepContainer& container,
                                                  const engine::Lease& lease);

  // run_flags.cc
  // --network and --security into `host`; the mounts.
  Result<std::vector<PlannedMount>> ReadRunFlags(const dockerfile::Instruction& in,
                                                 engine::HostConfig* host);
  Result<PlannedMount> PlanMount(const std::string& text);

  // copy_step.cc
  Result<> Copy(const dockerfile::Instruction& in);
  Result<std::vector<CopySource>> SourcesOf(const dockerfile::Instruction& in,
                                            const dockerfile::Expander& expander);
  // Of a "from": a named context, else a stage, else an image.
  Result<SourceTree> TreeOf(const std::string& from);

  // named_context.cc
  // Of a name as FROM and --from have it; nullptr for none.
  const NamedContext* FindContext(const std::string& name) const;
  // Whether it is a directory, and no image.
  static bool IsFiles(const NamedContext* context);
  // Received, or fetched, when it is first asked for.
  struct Directory {
    UniqueFd files;
    std::string path;
    std::optional<int64_t> time;  // of what is fetched: seconds since 1970
  };
  Result<Directory*> FilesOf(const NamedContext& context);
  Result<SourceTree> TreeOfFiles(const NamedContext& context);
  // The image that a context names.
  Result<engine::NamedImage> ImageOfContext(const NamedContext& context,
                                            const std::string& platform);
  // A stage that has nothing but the files of a directory.
  Result<> BeginWithFiles(const NamedContext& context);
  // `checksum`: "" for any.
  Result<CopySource> Download(const dockerfile::Instruction& in, const std::string& url,
                              const std::string& checksum);
  Result<CopySource> FromGit(const dockerfile::Instruction& in, const std::string& text,
                             const std::string& checksum);
  Result<CopySource> FromHeredoc(const dockerfile::Heredoc& doc,
                                 const dockerfile::Expander& expander);

  // epoch.cc
  // What SOURCE_DATE_EPOCH says, as an argument or before the first FROM: seconds, "context", or
  // what has a time: a named context, a stage of one file from elsewhere.
  Result<> FindEpoch();
  Result<std::optional<int64_t>> EpochOfName(const std::string& name);
  Result<std::optional<int64_t>> EpochOfStage(const dockerfile::Stage& stage);
  Result<GitTree> FetchRepository(const GitUrl& url);
  Result<std::optional<int64_t>> TimeOfSource(const dockerfile::Instruction& in,
                                              const std::string& url, const std::string& checksum);

  // layout_context.cc
  Result<engine::NamedImage> ImageOfLayout(const std::string& text);

  const std::shared_ptr<Common> common_;
  // Of what is in common, by names.
  engine::Engine& engine_;
  BuildRequest& request_;
  Context& context_;
  const BuildOutput& output_;
  Cache::User& cache_;
  dockerfile::Dockerfile& file_;
  std::vector<bool>& needed_;
  size_t& target_;
  // SOURCE_DATE_EPOCH: no time of the result is later, seconds since 1970.
  std::optional<int64_t>& epoch_;
  size_t& steps_;
  std::vector<StageState>& states_;  // of the stages that are done, by number
  std::atomic<size_t>& beside_;      // directories beside the context

  const StopToken stop_;
  Arguments arguments_;
  StageState* state_ = nullptr;  // of the stage that is being made
  std::optional<engine::ConfigEditor> editor_;
  SnapshotViews views_;
  StepMounter mounter_;
  UniqueFd nothing_;         // an empty directory
  size_t step_ = 0;          // the one that progress shows
  size_t shown_before_ = 1;  // steps before the stage's own: what it begins with, triggers
  size_t shown_of_stage_ = 0;
  bool showing_ = false;
  std::string making_;  // the key of the step that is being made, for all stages
  Lines at_;            // of the instruction that is being worked on
};

struct Builder::Common {
  Common(engine::Engine& engine_of, Cache& cache_of, BuildRequest request_of, Context context_of,
         const BuildOutput& output_of)
      : engine(engine_of),
        request(std::move(request_of)),
        context(std::move(context_of)),
        output(output_of),
        cache(cache_of) {}
  ~Common();

  // kUnneeded: nothing names it, as far as is known; triggers of an image may.
  enum class Progress : uint8_t { kUnneeded, kComing, kMade, kFailed };

  engine::Engine& engine;
  BuildRequest request;
  Context context;
  const BuildOutput& output;
  Cache::User cache;
  CacheSources cache_sources;
  Materials materials;
  dockerfile::Dockerfile file;
  std::vector<bool> needed;
  size_t target = 0;
  std::optional<int64_t> epoch;
  size_t steps = 0;
  std::vector<StageState> states;
  std::atomic<size_t> beside{0};
  std::atomic<size_t> told{0};     // steps of the classic builder's text
  std::atomic<size_t> shown{0};    // steps that progress has shown
  OnceMap<std::string> layouts;    // names in the store by "STORE@DIGEST"
  OnceMap<Directory> directories;  // of named contexts, by the client's names

  Mutex mutex;
  CondVar changed;
  std::vector<Progress> progress GUARDED_BY(mutex);    // of the stages
  std::set<std::string> being_made GUARDED_BY(mutex);  // keys of steps
  BuildEnd end GUARDED_BY(mutex);
  std::optional<Error> failure GUARDED_BY(mutex);    // the first
  Lines failed_lines GUARDED_BY(mutex);              // its instruction's
  std::set<std::string> declared GUARDED_BY(mutex);  // arguments
  std::vector<std::string> layout_names GUARDED_BY(mutex);
  std::vector<engine::ImageHolds::Hold> holds GUARDED_BY(mutex);
};

}  // namespace gantry::build
