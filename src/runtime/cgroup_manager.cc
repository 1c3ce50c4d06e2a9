// SPDX-License-Identifier: Apache-2.0
#include "runtime/cgroup_manager.h"

#include <unistd.h>

#include <algorithm>

#include "runtime/cgroup_setup.h"
#include "runtime/id_maps.h"
#include "runtime/systemd_scope.h"

namespace gantry::runtime {
namespace {

SystemdInstance InstanceOf(const ContainerState& state) {
  return state.user_scope ? SystemdInstance::kUser : SystemdInstance::kSystem;
}

bool IsPermission(const Error& error) {
  int number = error.error_number();
  return number == EACCES || number == EPERM || number == EROFS;
}

// Anything but device rules, which a user namespace can't have and its bound devices don't need.
bool AsksForLimits(const oci::Spec& spec) {
  if (!spec.platform.cgroups_path.empty()) return true;
  if (!spec.platform.resources) return false;
  oci::Resources resources = *spec.platform.resources;
  resources.devices.clear();
  if (resources.pids && resources.pids->limit == 0) resources.pids.reset();
  formats::Json json = oci::ToJson(resources);
  return std::any_of(json.members().begin(), json.members().end(),
                     [](const auto& member) { return member.second.size() > 0; });
}

// A program of device rules, or a write to devices.deny, needs the host's CAP_SYS_ADMIN.
Devices DeviceRulesOfCaller() { return IsUnprivileged() ? Devices::kLeave : Devices::kApply; }

// The container's root may make cgroups below its own only if it is in namespaces of its own and
// sees the hierarchy writable.
std::optional<uid_t> CgroupOwner(const oci::Spec& spec) {
  auto is_new = [&](std::string_view type) {
    return std::any_of(
        spec.platform.namespaces.begin(), spec.platform.namespaces.end(),
        [&](const oci::Namespace& ns) { return ns.type == type && ns.path.empty(); });
  };
  if (!is_new("user") || !is_new("cgroup")) return std::nullopt;
  bool writable = std::any_of(spec.mounts.begin(), spec.mounts.end(), [](const oci::Mount& mount) {
    return (mount.type == "cgroup" || mount.type == "cgroup2") &&
           std::find(mount.options.begin(), mount.options.end(), "ro") == mount.options.end();
  });
  if (!writable) return std::nullopt;
  for (const oci::IdMapping& mapping : spec.platform.uid_mappings) {
    if (mapping.container_id == 0 && mapping.size > 0) return mapping.host_id;
  }
  return std::nullopt;
}

Result<> ApplyAll(const oci::Spec& spec, const ContainerState& state) {
  if (spec.platform.resources) {
    TRY(ApplyResources(state.cgroups, *spec.platform.resources, DeviceRulesOfCaller()));
  }
  if (!state.cgroups.unified) return {};
  std::optional<uid_t> owner = CgroupOwner(spec);
  return owner ? DelegateCgroup(state.cgroups.Main(), *owner) : Result<>();
}

}  // namespace

Result<> ChooseContainerCgroups(const CreateOptions& options, const oci::Spec& spec,
                                ContainerState* state) {
  switch (options.cgroup_manager) {
    case CgroupManager::kCgroupfs:
      state->cgroups = TRY(ChooseCgroups(spec.platform.cgroups_path, options.id));
      return {};
    case CgroupManager::kDisabled:
      state->cgroups.unified = kernel::CgroupIsUnified();
      return {};
    case CgroupManager::kSystemd:
      break;
  }
  if (!kernel::CgroupIsUnified()) {
    return FailedPrecondition("the systemd cgroup manager needs cgroup version 2");
  }
  state->cgroups.unified = true;
  state->user_scope = IsUnprivileged();
  ScopeName name = TRY(ParseScopePath(spec.platform.cgroups_path, options.id,
                                      state->user_scope ? "user.slice" : "system.slice"));
  state->scope = name.unit;
  // Looked at before anything is made.
  TRY(AnnotatedProperties(spec.annotations));
  return {};
}

Result<> MakeContainerCgroups(const CreateOptions& options, const oci::Spec& spec,
                              ContainerState* state) {
  if (options.cgroup_manager != CgroupManager::kCgroupfs) return {};
  Result<> made = MakeCgroups(state->cgroups);
  if (made.ok()) return ApplyAll(spec, *state);
  if (!IsPermission(made.error()) || !options.rootless.value_or(IsUnprivileged())) return made;
  if (AsksForLimits(spec)) {
    made.error().AddHint(
        "limits and linux.cgroupsPath of a rootless container need a cgroup that is delegated to "
        "the user");
    return made;
  }
  state->cgroups.directories.clear();
  return {};
}

Result<> MakeContainerScope(const oci::Spec& spec, ContainerState* state) {
  ScopeRequest request;
  request.name = TRY(ParseScopePath(spec.platform.cgroups_path, state->id,
                                    state->user_scope ? "user.slice" : "system.slice"));
  request.description = "container " + state->id;
  request.pid = state->pid;
  if (spec.platform.resources) {
    DeviceProperties devices = DeviceRulesOfCaller() == Devices::kApply ? DeviceProperties::kInclude
                                                                        : DeviceProperties::kLeave;
    request.properties = TRY(ResourceProperties(*spec.platform.resources, devices));
  }
  UnitProperties annotated = TRY(AnnotatedProperties(spec.annotations));
  request.properties.insert(request.properties.end(), annotated.begin(), annotated.end());
  TRY(StartScope(InstanceOf(*state), request));
  // Where systemd has put it, slices of slices and all; the kernel knows.
  kernel::CgroupPaths paths = TRY(kernel::CgroupPathsOfProcess(state->pid));
  if (!paths.Main().ends_with("/" + state->scope)) {
    return Internal("systemd unit '{}': its process is in cgroup '{}'", state->scope, paths.Main());
  }
  state->cgroups = std::move(paths);
  return ApplyAll(spec, *state);
}

Result<> UpdateContainerCgroups(const ContainerState& state, const oci::Resources& resources) {
  if (state.cgroups.directories.empty()) {
    return FailedPrecondition("the container has no cgroup to set limits in");
  }
  oci::Resources all = TRY(CompleteResources(state.cgroups, resources));
  Devices devices = all.devices.empty() ? Devices::kLeave : DeviceRulesOfCaller();
  if (!state.scope.empty()) {
    UnitProperties properties = TRY(ResourceProperties(
        all, devices == Devices::kApply ? DeviceProperties::kInclude : DeviceProperties::kLeave));
    TRY(SetScopeProperties(InstanceOf(state), state.scope, properties));
  }
  return ApplyResources(state.cgroups, all, devices);
}

Result<> RemoveContainerCgroups(const ContainerState& state, std::chrono::milliseconds limit) {
  // Without a cgroup known the scope was not made, or is not ours: a unit of that name may be
  // somebody else's. Should a crash have come between, it ends with its process.
  if (!state.scope.empty() && !state.cgroups.directories.empty()) {
    TRY(StopScope(InstanceOf(state), state.scope));
  }
  return kernel::RemoveCgroup(state.cgroups, limit);
}

}  // namespace gantry::runtime
