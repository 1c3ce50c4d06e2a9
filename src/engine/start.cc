// SPDX-License-Identifier: Apache-2.0
//
// POST /containers/{id}/start. The order, with what runs beside what (docs/walk-run.md):
//
//   network (own thread) ┐
//   root mounts, accounts┴▶ config.json ▶ Containers.Create ▶ Tasks.Create ▶ attach ▶ Tasks.Start
#include <unistd.h>

#include <utility>

#include "base/io.h"
#include "base/log.h"
#include "base/undo.h"
#include "engine/container_files.h"
#include "engine/engine.h"
#include "engine/health.h"
#include "engine/host_files.h"
#include "engine/links.h"
#include "engine/mount_points.h"
#include "engine/namespace_modes.h"
#include "engine/network_list.h"
#include "engine/oci_spec.h"
#include "engine/root_view.h"
#include "engine/shared_memory.h"
#include "engine/stdio_uri.h"
#include "engine/store.h"

namespace gantry::engine {
namespace {

constexpr int kExitNotFound = 127;
constexpr int kExitNotExecutable = 126;
constexpr int kExitStartFailed = 128;

// What a failed start means for the exit code, by the runtime's words, as docker has it.
int ExitCodeOf(const std::string& message) {
  for (const char* text : {"executable file not found", "no such file or directory"}) {
    if (message.find(text) != std::string::npos) return kExitNotFound;
  }
  for (const char* text : {"permission denied", "not a directory", "is a directory"}) {
    if (message.find(text) != std::string::npos) return kExitNotExecutable;
  }
  return kExitStartFailed;
}

// The overlay of a container that is thrown away needs no syncs: its unmount would wait for
// everybody's dirty data.
void MakeVolatile(std::vector<client::Mount>* mounts) {
  for (client::Mount& mount : *mounts) {
    if (mount.type == "overlay") mount.options.emplace_back("volatile");
  }
}

// On disk files have the container's ids; the shim makes the root show those of the host.
void MapIds(const UserRemap& remap, std::vector<client::Mount>* mounts) {
  for (client::Mount& mount : *mounts) {
    mount.options.push_back("uidmap=" + MapOption(remap.uids));
    mount.options.push_back("gidmap=" + MapOption(remap.gids));
  }
}

void MarkRunning(ContainerRecord* record) {
  ContainerState& state = record->state;
  state.phase = Phase::kRunning;
  state.has_been_started = true;
  state.exit_code = 0;
  state.finished_at = {};
  if (!ProbeCommand(record->config)) {
    state.health.reset();
  } else {
    if (!state.health) state.health.emplace();
    state.health->status = HealthStatus::kStarting;
    state.health->failing_streak = 0;
  }
}

}  // namespace

Result<Engine::Outcome> Engine::Start(std::string_view reference) {
  auto container = TRY(Find(reference));
  auto turn = TRY(container->TakeTurn());
  switch (container->record()->state.phase) {
    case Phase::kRunning:
      return Outcome::kAlreadySo;
    case Phase::kPaused:
      return MakeError(ErrorKind::kAborted, "cannot start a paused container, try unpause instead");
    case Phase::kRemoving:
    case Phase::kDead:
      return MakeError(ErrorKind::kAborted,
                       "container is marked for removal and cannot be started");
    default:
      break;
  }
  container->Update([](ContainerRecord& record) {
    record.state.stopped_by_user = false;
    record.state.removed_at_end = false;
    record.state.restart_count = 0;
    record.state.restart_doublings = 0;
  });
  Result<> started = StartWithTurn(*container);
  if (!started.ok()) {
    if (container->record()->host.auto_remove) {
      Result<> removed = RemoveWithTurn(*container);
      if (!removed.ok()) log::Warning("removing {}: {}", reference, removed.error().message());
    }
    return std::move(started).error();
  }
  return Outcome::kDone;
}

Result<> Engine::StartWithTurn(Container& container) {
  ActionTimer timer(action_times_, "start");
  Container::RecordPointer before = container.record();
  container.Update([](ContainerRecord& record) {
    record.state.started_from = record.state.phase;
    record.state.phase = Phase::kStarting;
    record.state.error.clear();
    record.state.oom_killed = false;
  });
  Result<> run = RunTask(container, *before);
  if (run.ok()) {
    Container::RecordPointer record = container.record();
    Publish("start", *record);
    TellProbes(*record);
    ForwardLog(*record, true);
    timer.Done();
    return {};
  }
  std::string message = run.error().message();
  container.Update([&](ContainerRecord& record) {
    record.state.phase = before->state.has_been_started ? Phase::kExited : Phase::kCreated;
    record.state.pid = 0;
    record.state.error = message;
    record.state.exit_code = ExitCodeOf(message);
  });
  Result<> saved = Save(container);
  if (!saved.ok()) log::Failure("container {}: {}", container.id(), saved.error().message());
  for (const auto& attach : container.TakeAttaches()) attach(run.error());
  container.NotifyExit();
  return run;
}

Result<> Engine::RunTask(Container& container, const ContainerRecord& record) {
  const std::string& id = record.id;
  Undo undo;
  start_traces_.Begin(id);
  StartTrace trace("engine");
  RuntimeChoice runtime = TRY(RuntimeOf(record.host));
  if (record.host.ipc_mode == kShareable) {
    TRY(MountSharedMemory(SharedMemoryPath(id), record.host.shm_size));
    undo.Push([this, &record] { DropSharedMemory(record); });
  }
  bool remapped = IsRemapped(record);
  OwnNamespaces namespaces;
  if (remapped) namespaces = TRY(MakeNamespaces(record));
  auto network = workers_.Async([&] {
    StartTrace beside("engine");
    Result<Attached> attached = AttachNetworks(record, std::move(namespaces.network));
    beside.Lap("network");
    start_traces_.Add(id, beside.TakeSteps());
    return attached;
  });
  undo.Push([this, &record] {
    DropTransientMounts(record.id);
    ReleaseMounts(record);
  });
  // The future refers to this frame: it is always awaited.
  auto prepare = [&]() -> Result<std::pair<std::vector<client::Mount>, std::string>> {
    auto mounts = TRY(RootMounts(record));
    oci::Spec spec = TRY(MakeContainerSpec(record, mounts, namespaces.user));
    return std::pair(std::move(mounts), oci::ToJson(spec).Dump());
  };
  auto prepared = prepare();
  trace.Lap("root mounts, config.json");
  Result<Attached> attached = network.get();
  trace.Lap("wait for the network");
  undo.Push([this, &record] {
    for (const auto& left : DetachNetworks(record)) PublishNetwork("disconnect", left, record.id);
  });
  auto [mounts, spec] = TRY(std::move(prepared));
  Attached networks = TRY(std::move(attached));
  // One that shares another's network shares its files.
  if (!JoinsContainer(record.host)) TRY(WriteHostFiles(TRY(HostFilesOf(record))));
  trace.Lap("hosts, resolv.conf");

  client::Container created;
  created.id = id;
  created.image = record.image_name;
  created.runtime = runtime.shim;
  created.runtime_binary = runtime.binary;
  created.snapshotter = options_.snapshotter;
  created.snapshot_key = id;
  created.spec = std::move(spec);
  if (remapped) {
    created.io_uid = options_.remap->root_uid();
    created.io_gid = options_.remap->root_gid();
  }
  Result<> made = containerd_->CreateContainer(created);
  if (!made.ok() && made.error().kind() == ErrorKind::kAlreadyExists) {
    // What a crash left of the last run.
    TRY(CleanTask(id));
    made = containerd_->CreateContainer(created);
  }
  TRY(made);
  trace.Lap("Containers.Create");
  undo.Push([this, id] { TryCleanTask(id); });

  client::CreateTask task;
  task.container_id = id;
  task.rootfs = std::move(mounts);
  if (record.host.auto_remove) MakeVolatile(&task.rootfs);
  if (remapped) MapIds(*options_.remap, &task.rootfs);
  task.stdout_uri = TRY(StdoutUri(record));
  task.terminal = record.config.tty;
  Result<uint32_t> task_made = containerd_->Create(task);
  // The runtime has its own mounts by now.
  DropTransientMounts(id);
  uint32_t pid = TRY_WITH(std::move(task_made), "failed to create task for container");
  TRY(LinkBareNamespace(record, pid));
  trace.Lap("Tasks.Create");
  for (const auto& attach : container.TakeAttaches()) attach(AttachSocket(id, "init"));
  container.Update([&](ContainerRecord& changed) {
    changed.state.pid = pid;
    changed.state.started_at = WallClock::now();
  });
  TRY_WITH(containerd_->Start(id), "failed to start task for container");
  trace.Lap("Tasks.Start");
  container.Update([&](ContainerRecord& changed) {
    for (const auto& [name, network_id] : networks.network_ids) {
      changed.networking.endpoints_config[name].network_id = network_id;
    }
    MarkRunning(&changed);
  });
  undo.Commit();
  TellLinkedFrom(record);
  Event event = ContainerEvent("start", *container.record());
  Result<> saved = Save(container, &event);
  trace.Lap("record");
  start_traces_.Add(id, trace.TakeSteps());
  CollectTrace(id);
  return saved;
}

// Only of our own container daemon, whose state is under ours; another's has no such file.
void Engine::CollectTrace(const std::string& id) {
  std::string bundle = fmt::format("{}/containerd/io.containerd.runtime.v2.task/{}/{}",
                                   options_.state, options_.containerd_namespace, id);
  Result<std::string> text = ReadFile(bundle + "/trace");
  if (text.ok()) start_traces_.Add(id, ParseTrace(*text));
}

Result<std::vector<client::Mount>> Engine::RootMounts(const ContainerRecord& record) {
  {
    MutexLock lock(mutex_);
    auto fresh = fresh_mounts_.extract(record.id);
    if (!fresh.empty()) return std::move(fresh.mapped());
  }
  return containerd_->SnapshotMounts(options_.snapshotter, record.id);
}

Result<Accounts> Engine::AccountsOf(const ContainerRecord& record,
                                    const std::vector<client::Mount>& root_mounts) {
  bool fresh = !record.state.has_been_started && !record.parent_snapshot.empty();
  if (fresh) {
    MutexLock lock(mutex_);
    auto known = accounts_by_snapshot_.find(record.parent_snapshot);
    if (known != accounts_by_snapshot_.end()) return known->second;
  }
  if (root_mounts.empty()) return Accounts{};
  UniqueFd root = TRY_WITH(OpenReadOnlyView(root_mounts.front()), "reading the users of the image");
  Accounts accounts = TRY(ReadAccounts(root));
  if (fresh) {
    MutexLock lock(mutex_);
    accounts_by_snapshot_.emplace(record.parent_snapshot, accounts);
  }
  return accounts;
}

Result<oci::Spec> Engine::MakeContainerSpec(const ContainerRecord& record,
                                            const std::vector<client::Mount>& root_mounts,
                                            BorrowedFd user_namespace) {
  SpecRequest request;
  request.id = record.id;
  request.config = &record.config;
  request.host = &record.host;
  request.accounts = TRY(AccountsOf(record, root_mounts));
  request.uts_hostname = record.hostname;
  std::string directory = ContainerDirectory(record.id);
  if (IsContainerMode(record.host.network_mode)) {
    std::string other = ContainerOfMode(record.host.network_mode);
    Container::RecordPointer donor = TRY(NetworkOwner(other));
    request.uts_hostname = donor->hostname;
    directory = ContainerDirectory(donor->id);
  }
  bool remapped = IsRemapped(record);
  for (oci::Mount& mount : HostFileMounts(directory)) {
    if (record.host.readonly_rootfs) mount.options.emplace_back("ro");
    if (remapped) mount.options.emplace_back(kMapped);
    request.mounts.push_back(std::move(mount));
  }
  for (oci::Mount& mount : TRY(SetUpMounts(record))) {
    std::erase_if(request.mounts,
                  [&](const oci::Mount& own) { return own.destination == mount.destination; });
    // What is the user's has the host's ids; volumes have the container's.
    if (remapped && mount.source.starts_with(options_.root + "/volumes/")) {
      mount.options.emplace_back(kMapped);
    }
    request.mounts.push_back(std::move(mount));
  }
  for (oci::Mount& mount : TRY(AttachStepMounts(record.id, record.mounts.size(), remapped))) {
    request.mounts.push_back(std::move(mount));
  }
  if (remapped) request.remap = &*options_.remap;
  if (user_namespace.valid()) {
    request.user_namespace = fmt::format("/proc/{}/fd/{}", ::getpid(), user_namespace.get());
  }
  TRY(JoinNamespaces(record, &request));
  request.link_environment = LinkEnvironment(record.name, TRY(LinksOf(record)));
  request.default_cgroup_parent = options_.cgroup_parent;
  std::string init = settings()->init_path;
  request.init_program =
      init.empty() ? options_.programs_directory + "/gantry-init" : std::move(init);
  request.cdi_directories = settings()->cdi_spec_directories;
  request.unified_cgroups = unified_cgroups_;
  oci::Spec spec = TRY(MakeSpec(request));
  auto container = FindById(record.id);
  auto inputs = container ? container->inputs() : nullptr;
  if (inputs) spec.process->env = MergeEnvironment(std::move(spec.process->env), inputs->env);
  return spec;
}

Result<std::string> Engine::StdoutUri(const ContainerRecord& record) const {
  Result<StdioUri> uri = MakeStdioUri(record, AttachSocket(record.id, "init"), LogPath(record.id));
  // What only shows now, such as a template that names no field, is docker's 500.
  if (uri.ok()) return uri->Format();
  return Internal("failed to initialize logging driver: {}", uri.error().message());
}

Result<Accounts> Engine::AccountsOfRunning(const ContainerRecord& record) const {
  return ReadAccounts(TRY(OpenRootOfProcess(record)));
}

Result<Engine::ExecBasis> Engine::BasisForExec(const ContainerRecord& record) {
  ExecBasis basis;
  basis.accounts = TRY(AccountsOfRunning(record));
  SpecRequest request;
  request.id = record.id;
  request.config = &record.config;
  request.host = &record.host;
  request.accounts = basis.accounts;
  auto links = LinksOf(record);
  if (links.ok()) request.link_environment = LinkEnvironment(record.name, *links);
  request.uts_hostname = record.hostname;
  basis.process = TRY(MakeContainerProcess(request));
  return basis;
}

}  // namespace gantry::engine
