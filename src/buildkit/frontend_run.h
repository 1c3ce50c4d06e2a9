// SPDX-License-Identifier: Apache-2.0
//
// A front end of an image while it runs: what it was given, and what it has returned. Any thread.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/mutex.h"
#include "base/stop_token.h"
#include "buildkit/gateway_container.h"
#include "buildkit/job.h"
#include "buildkit/solve.h"
#include "moby/buildkit/ops.pb.h"

namespace gantry::buildkit {

using InputDefinitions = std::map<std::string, pb::Definition>;

class FrontendRun {
 public:
  static Result<std::shared_ptr<FrontendRun>> Create(std::shared_ptr<Job> job,
                                                     InputDefinitions inputs, int depth) {
    StopSource returned = TRY(StopSource::Create());
    return std::shared_ptr<FrontendRun>(
        new FrontendRun(std::move(job), std::move(inputs), depth, std::move(returned)));
  }

  const std::shared_ptr<Job>& job() const { return job_; }
  const InputDefinitions& inputs() const { return inputs_; }
  int depth() const { return depth_; }
  GatewayContainers& containers() { return containers_; }

  // kFailedPrecondition the second time.
  Result<> Return(Result<Solved> result) {
    MutexLock lock(mutex_);
    if (result_) return FailedPrecondition("the front end has returned a result already");
    result_ = std::move(result);
    returned_.RequestStop();
    return {};
  }
  std::optional<Result<Solved>> result() {
    MutexLock lock(mutex_);
    return result_;
  }
  // Stops once there is a result.
  StopToken has_returned() const { return returned_.token(); }

 private:
  FrontendRun(std::shared_ptr<Job> job, InputDefinitions inputs, int depth, StopSource returned)
      : job_(std::move(job)),
        inputs_(std::move(inputs)),
        depth_(depth),
        returned_(std::move(returned)) {}

  const std::shared_ptr<Job> job_;
  const InputDefinitions inputs_;
  const int depth_;
  StopSource returned_;
  GatewayContainers containers_;
  Mutex mutex_;
  std::optional<Result<Solved>> result_ GUARDED_BY(mutex_);
};

}  // namespace gantry::buildkit
