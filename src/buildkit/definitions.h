// SPDX-License-Identifier: Apache-2.0
//
// Definitions of LLB as a client sends them: run for a job with what its session answers, kept like
// any other result, and named again by definitions of this engine's own. Any thread; calls block.
#pragma once

#include <memory>
#include <string>

#include "base/mutex.h"
#include "buildkit/job.h"
#include "buildkit/made.h"
#include "buildkit/session.h"
#include "buildkit/shared.h"
#include "llb/solver.h"
#include "moby/buildkit/ops.pb.h"

namespace gantry::buildkit {

// Of a definition.
class SolvedMade : public Made {
 public:
  SolvedMade(engine::Engine& engine, std::unique_ptr<llb::Solver> solver, build::StageState state,
             MadeFrom from)
      : engine_(engine),
        solver_(std::move(solver)),
        from_(std::move(from)),
        state_(std::move(state)) {}

  MadeFrom from() override {
    MadeFrom out = from_;
    FillRequest(&out);
    return out;
  }

  build::StageState result() override {
    MutexLock lock(mutex_);
    return state_;
  }
  std::vector<build::StageState> Stages() override { return solver_->Stages(); }
  Result<std::string> Store(const build::StoreAs& as) override;
  Result<BorrowedFd> OpenFiles() override { return solver_->OpenFiles(result()); }
  Result<> SetConfig(const std::string& json) override;
  void SetInlineCache(const build::CacheDocument& document) override {
    MutexLock lock(mutex_);
    build::SetInlineCache(document, &state_);
  }

 private:
  engine::Engine& engine_;
  const std::unique_ptr<llb::Solver> solver_;
  const MadeFrom from_;
  Mutex mutex_;
  build::StageState state_ GUARDED_BY(mutex_);
};

// Runs it. `job` outlives what is made. `details`: where the operation comes from that has failed.
Result<std::unique_ptr<Made>> SolveDefinition(Shared& shared, Job& job,
                                              const pb::Definition& definition,
                                              const StopToken& stop, ErrorDetails* details);

// A definition whose result is that one, for clients that build on it.
pb::Definition DefinitionOf(const std::string& result);

// What the client answers for a build.
void AskSession(const std::shared_ptr<Session>& session, const StopToken& stop,
                build::BuildRequest* request);

}  // namespace gantry::buildkit
