// SPDX-License-Identifier: Apache-2.0
//
// Containers of the gateway (LLBBridge.NewContainer): a client or a front end starts processes on
// the files of results. What they change is thrown away. The first process is the container's own:
// with it the others end. Any thread; calls block.
#pragma once

#include <functional>
#include <future>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/mutex.h"
#include "base/stop_token.h"
#include "base/unique_fd.h"
#include "build/context.h"
#include "build/request.h"
#include "build/snapshot_views.h"
#include "build/step_container.h"
#include "build/step_mounter.h"
#include "build/step_mounts.h"
#include "buildkit/made.h"
#include "buildkit/shared.h"
#include "moby/buildkit/gateway.pb.h"

namespace gantry::buildkit {

class GatewayContainer {
 public:
  using Request = moby::buildkit::v1::frontend::NewContainerRequest;
  using Init = moby::buildkit::v1::frontend::InitMessage;

  // kPermissionDenied for what the job's client does not grant.
  static Result<std::shared_ptr<GatewayContainer>> Create(Shared& shared, Job& job,
                                                          const Request& request,
                                                          const StopToken& stop);
  ~GatewayContainer() { End(); }
  GatewayContainer(const GatewayContainer&) = delete;
  GatewayContainer& operator=(const GatewayContainer&) = delete;

  struct Process {
    UniqueFd streams;          // its output in frames of the attach protocol
    bool frames_input = true;  // else its input is the bytes alone, and ends with a half-close
    std::string exec;          // "": the container's own
    std::future<engine::WaitResult> end;
  };
  Result<Process> Start(const Init& init, const StopToken& stop);
  Result<> Resize(const std::string& exec, uint32_t rows, uint32_t columns);
  // `name`: "INT"; kInvalidArgument.
  Result<> Signal(const std::string& exec, const std::string& name);
  // The files of the mount with that number, in the order of the request.
  Result<UniqueFd> OpenMount(int number);
  // Ends its processes; none is started any more.
  void End();

 private:
  GatewayContainer(Shared& shared, build::Context context, const StopToken& stop);

  Result<> Plan(Job& job, const Request& request);
  Result<> PlanMount(Job& job, const pb::Mount& mount);
  Result<> AskForSecrets(const Init& init, std::vector<std::string>* env) const;
  Result<Process> StartFirst(const Init& init, const StopToken& stop) REQUIRES(mutex_);
  Result<Process> StartAnother(const Init& init) REQUIRES(mutex_);

  Shared& shared_;
  build::BuildRequest request_;
  engine::HostConfig host_;
  std::string hostname_;
  std::string root_;                         // a chain id
  std::vector<std::shared_ptr<Made>> held_;  // whose files are mounted
  UniqueFd nothing_;                         // an empty directory
  std::vector<build::PlannedMount> planned_;
  std::vector<std::string> targets_;  // of the request's mounts
  int agents_ = 0;
  build::Context context_;
  build::SnapshotViews views_;
  build::StepMounter mounter_;
  build::StepMounts mounts_;
  Mutex mutex_;
  std::optional<build::StepContainer> container_ GUARDED_BY(mutex_);
  bool ended_ GUARDED_BY(mutex_) = false;
};

// Those of one caller, by the names that it gives them.
class GatewayContainers {
 public:
  // kAlreadyExists; kResourceExhausted: there are too many.
  Result<> Add(const std::string& id, std::shared_ptr<GatewayContainer> container);
  // kNotFound.
  Result<std::shared_ptr<GatewayContainer>> Find(const std::string& id);
  Result<> Release(const std::string& id);
  // None is added any more.
  void End();

 private:
  Mutex mutex_;
  std::map<std::string, std::shared_ptr<GatewayContainer>> containers_ GUARDED_BY(mutex_);
  bool ended_ GUARDED_BY(mutex_) = false;
};

}  // namespace gantry::buildkit
