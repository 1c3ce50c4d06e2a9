// SPDX-License-Identifier: Apache-2.0
//
// `pause`, `resume`, `update`, `state`, `ps`.
#include "kernel/cgroups.h"
#include "runtime/cgroup_manager.h"
#include "runtime/intel_rdt.h"
#include "runtime/operations.h"

namespace gantry::runtime {
namespace {

constexpr std::chrono::milliseconds kFreezeTime = std::chrono::seconds(10);

struct Found {
  ContainerState state;
  Status status;
};

Result<Found> Find(const std::string& root, const std::string& id) {
  StateDirectory directory(root, id);
  Found found;
  found.state = TRY(directory.Load());
  found.status = TRY(StatusOf(directory, found.state));
  return found;
}

}  // namespace

Result<> Pause(const std::string& root, const std::string& id) {
  Found found = TRY(Find(root, id));
  if (found.status != Status::kRunning && found.status != Status::kCreated) {
    return FailedPrecondition("container not running");
  }
  return kernel::FreezeCgroup(found.state.cgroups, kernel::Freeze::kFreeze, kFreezeTime);
}

Result<> Resume(const std::string& root, const std::string& id) {
  Found found = TRY(Find(root, id));
  if (found.status != Status::kPaused) return FailedPrecondition("container not paused");
  return kernel::FreezeCgroup(found.state.cgroups, kernel::Freeze::kThaw, kFreezeTime);
}

Result<> Update(const std::string& root, const std::string& id, const oci::Resources& resources,
                const CacheUpdate& cache) {
  Found found = TRY(Find(root, id));
  if (found.status == Status::kStopped) return FailedPrecondition("container not running");
  TRY(UpdateRdtGroup(found.state.rdt, {cache.l3_cache_schema, cache.mem_bw_schema}));
  return UpdateContainerCgroups(found.state, resources);
}

Result<formats::Json> State(const std::string& root, const std::string& id) {
  Found found = TRY(Find(root, id));
  return StateJson(found.state, found.status);
}

Result<std::vector<pid_t>> Processes(const std::string& root, const std::string& id) {
  Found found = TRY(Find(root, id));
  return kernel::CgroupProcesses(found.state.cgroups);
}

}  // namespace gantry::runtime
