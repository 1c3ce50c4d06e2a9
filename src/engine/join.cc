// SPDX-License-Identifier: Apache-2.0
//
// What a container shares with another one or with the host: namespaces, /dev/shm. And which OCI
// runtime it gets.
#include <fcntl.h>

#include <map>
#include <utility>

#include "base/io.h"
#include "base/log.h"
#include "engine/engine.h"
#include "engine/namespace_modes.h"
#include "engine/oci_spec.h"
#include "engine/shared_memory.h"
#include "kernel/net_namespace.h"
#include "kernel/user_namespace.h"

namespace gantry::engine {
namespace {

// /proc/PID/ns/KIND of the container that a mode names.
std::string NamespacePath(const ContainerRecord& donor, std::string_view kind) {
  return fmt::format("/proc/{}/ns/{}", donor.state.pid, kind);
}

}  // namespace

Result<Container::RecordPointer> Engine::Donor(const std::string& mode,
                                               std::string_view what) const {
  // docker's words and kinds, which are others for networks: it was there when this one was made,
  // so the fault is not the request's.
  std::string reference = ContainerOfMode(mode);
  bool network = what == "network";
  std::string complaint = network ? "joining network namespace of container"
                                  : fmt::format("failed to join {} namespace", what);
  auto other = Find(reference);
  if (!other.ok()) return Internal("{}: {}", complaint, other.error().message());
  Container::RecordPointer record = (*other)->record();
  if (record->state.IsAlive()) return record;
  if (!network) return Internal("{}: container {} is not running", complaint, reference);
  return MakeError(ErrorKind::kAborted,
                   "cannot join network namespace of a non running container: container {} is {}",
                   record->name, PhaseName(record->state.phase));
}

// Whoever joins what another has must be in the user namespace that it belongs to.
bool Engine::IsRemapped(const ContainerRecord& record) const {
  if (!options_.remap || record.host.userns_mode == "host") return false;
  for (const std::string& mode :
       {record.host.network_mode, record.host.ipc_mode, record.host.pid_mode}) {
    if (!IsContainerMode(mode)) continue;
    auto donor = Find(ContainerOfMode(mode));
    if (donor.ok()) return IsRemapped(*(*donor)->record());
  }
  return true;
}

Result<std::string> Engine::UserNamespaceOfDonor(const ContainerRecord& record) const {
  const HostConfig& host = record.host;
  for (const auto& [mode, what] :
       {std::pair(host.network_mode, "network"), std::pair(host.ipc_mode, "IPC"),
        std::pair(host.pid_mode, "PID")}) {
    if (IsContainerMode(mode)) return NamespacePath(*TRY(Donor(mode, what)), "user");
  }
  return std::string();
}

Result<Engine::OwnNamespaces> Engine::MakeNamespaces(const ContainerRecord& record) const {
  OwnNamespaces made;
  std::string donors = TRY(UserNamespaceOfDonor(record));
  made.user = donors.empty() ? TRY(kernel::MakeUserNamespace(MapLines(options_.remap->uids),
                                                             MapLines(options_.remap->gids)))
                             : TRY(OpenFile(donors, O_RDONLY));
  if (WantsNetworks(record)) {
    made.network = TRY(kernel::MakeNetworkNamespaceIn(made.user));
    TRY(kernel::FurnishNetNamespace(made.network));
  }
  return made;
}

Result<> Engine::JoinNamespaces(const ContainerRecord& record, SpecRequest* request) const {
  const HostConfig& host = record.host;
  if (WantsNetworks(record)) {
    request->network_namespace = NetworkNamespacePath(record.id);
  }
  if (IsContainerMode(host.network_mode)) {
    auto other = Find(ContainerOfMode(host.network_mode));
    if (other.ok() && (*other)->id() == record.id) {
      return Internal("cannot join own network namespace");
    }
    request->network_namespace = NamespacePath(*TRY(Donor(host.network_mode, "network")), "net");
  }
  if (IsContainerMode(host.ipc_mode)) {
    request->ipc_namespace = NamespacePath(*TRY(Donor(host.ipc_mode, "IPC")), "ipc");
  }
  if (IsContainerMode(host.pid_mode)) {
    request->pid_namespace = NamespacePath(*TRY(Donor(host.pid_mode, "PID")), "pid");
  }
  request->shm_source = TRY(SharedMemoryOf(record));
  return {};
}

Result<std::string> Engine::SharedMemoryOf(const ContainerRecord& record) const {
  const std::string& mode = record.host.ipc_mode;
  if (mode == "host") return std::string("/dev/shm");
  if (mode == kShareable) return SharedMemoryPath(record.id);
  if (!IsContainerMode(mode)) return std::string();
  Container::RecordPointer donor = TRY(Donor(mode, "IPC"));
  const std::string& its = donor->host.ipc_mode;
  if (its != "host" && its != kShareable) {
    return InvalidArgument(
        "failed to join IPC namespace: container {}: non-shareable IPC (hint: use "
        "IpcMode:shareable for the donor container)",
        donor->id);
  }
  return SharedMemoryOf(*donor);
}

std::string Engine::SharedMemoryPath(std::string_view id) const {
  return fmt::format("{}/shm/{}", options_.state, id);
}

void Engine::DropSharedMemory(const ContainerRecord& record) const {
  if (record.host.ipc_mode != kShareable) return;
  Result<> dropped = UnmountSharedMemory(SharedMemoryPath(record.id));
  if (!dropped.ok()) log::Warning("container {}: {}", record.id, dropped.error().message());
}

Result<Engine::RuntimeChoice> Engine::RuntimeOf(const HostConfig& host) const {
  auto known = RuntimeBinary(*settings(), host.runtime);
  if (known.ok()) return RuntimeChoice{options_.runtime, *std::move(known)};
  // A shim's name.
  if (host.runtime.find('.') != std::string::npos) return RuntimeChoice{host.runtime, ""};
  return std::move(known).error();
}

}  // namespace gantry::engine
