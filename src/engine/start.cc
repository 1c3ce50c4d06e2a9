// SPDX-License-Identifier: Apache-2.0
//
// POST /containers/{id}/start. The order, with what runs beside what (docs/walk-run.md):
//
//   network (own thread) ┐
//   root mounts, accounts┴▶ config.json ▶ Containers.Create ▶ Tasks.Create ▶ attach ▶ Tasks.Start
#include <utility>

#include "base/io.h"
#include "base/log.h"
#include "base/undo.h"
#include "engine/engine.h"
#include "engine/health.h"
#include "engine/host_files.h"
#include "engine/mount_points.h"
#include "engine/oci_spec.h"
#include "engine/port_bindings.h"
#include "engine/stdio_uri.h"
#include "engine/store.h"
#include "kernel/mounts.h"
#include "kernel/paths.h"

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

// Read-only mounts of the same layers, so that nothing of the container is touched.
Result<UniqueFd> OpenReadOnlyView(const client::Mount& mount) {
  std::vector<std::string> options = {"ro"};
  std::string upper;
  std::string lower;
  for (const std::string& option : mount.options) {
    if (option.starts_with("upperdir=")) {
      upper = option.substr(9);
    } else if (option.starts_with("lowerdir=")) {
      lower = option.substr(9);
    } else if (!option.starts_with("workdir=") && option != "rw" && option != "ro" &&
               option != "volatile") {
      options.push_back(option);
    }
  }
  if (mount.type == "overlay") {
    options.push_back("lowerdir=" + (upper.empty() ? lower : upper + ":" + lower));
  }
  return kernel::MountDetached(mount.type, mount.source, options);
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
  Container::RecordPointer before = container.record();
  container.Update([](ContainerRecord& record) {
    record.state.phase = Phase::kStarting;
    record.state.error.clear();
    record.state.oom_killed = false;
  });
  Result<> run = RunTask(container, *before);
  if (run.ok()) {
    Container::RecordPointer record = container.record();
    Publish("start", *record);
    TellProbes(*record);
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
  auto network = workers_.Async([&] {
    StartTrace beside("engine");
    Result<std::string> attached = AttachNetwork(record);
    beside.Lap("network");
    start_traces_.Add(id, beside.TakeSteps());
    return attached;
  });
  // The future refers to this frame: it is always awaited.
  auto prepare = [&]() -> Result<std::pair<std::vector<client::Mount>, std::string>> {
    auto mounts = TRY(RootMounts(record));
    oci::Spec spec = TRY(MakeContainerSpec(record, mounts));
    return std::pair(std::move(mounts), oci::ToJson(spec).Dump());
  };
  auto prepared = prepare();
  trace.Lap("root mounts, config.json");
  Result<std::string> address = network.get();
  trace.Lap("wait for the network");
  undo.Push([this, id] {
    Result<> detached = networks_->Detach(id);
    if (!detached.ok()) log::Warning("container {}: {}", id, detached.error().message());
  });
  auto [mounts, spec] = TRY(std::move(prepared));
  HostFilesRequest files;
  files.directory = ContainerDirectory(id);
  files.config = &record.config;
  files.host = &record.host;
  files.hostname = record.hostname;
  files.address = TRY(std::move(address));
  TRY(WriteHostFiles(files));
  trace.Lap("hosts, resolv.conf");

  client::Container created;
  created.id = id;
  created.image = record.image_name;
  created.runtime = options_.runtime;
  created.snapshotter = options_.snapshotter;
  created.snapshot_key = id;
  created.spec = std::move(spec);
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
  task.stdout_uri = TRY(StdoutUri(record));
  task.terminal = record.config.tty;
  uint32_t pid = TRY_WITH(containerd_->Create(task), "failed to create task for container");
  trace.Lap("Tasks.Create");
  for (const auto& attach : container.TakeAttaches()) attach(AttachSocket(id, "init"));
  container.Update([&](ContainerRecord& changed) {
    changed.state.pid = pid;
    changed.state.started_at = WallClock::now();
  });
  TRY_WITH(containerd_->Start(id), "failed to start task for container");
  trace.Lap("Tasks.Start");
  container.Update([&](ContainerRecord& changed) {
    changed.state.phase = Phase::kRunning;
    changed.state.has_been_started = true;
    changed.state.exit_code = 0;
    changed.state.finished_at = {};
    if (!ProbeCommand(changed.config)) {
      changed.state.health.reset();
    } else {
      if (!changed.state.health) changed.state.health.emplace();
      changed.state.health->status = HealthStatus::kStarting;
      changed.state.health->failing_streak = 0;
    }
  });
  undo.Commit();
  Result<> saved = Save(container);
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
                                            const std::vector<client::Mount>& root_mounts) {
  SpecRequest request;
  request.id = record.id;
  request.config = &record.config;
  request.host = &record.host;
  request.accounts = TRY(AccountsOf(record, root_mounts));
  std::vector<MountPoint> points = TRY(ParseMountPoints(record.host));
  TRY(PrepareSources(points));
  for (const char* name : {"resolv.conf", "hostname", "hosts"}) {
    request.mounts.push_back({std::string("/etc/") + name,
                              "bind",
                              ContainerDirectory(record.id) + "/" + name,
                              {"rbind", "rprivate"},
                              {},
                              {}});
  }
  for (const MountPoint& point : points) {
    std::erase_if(request.mounts,
                  [&](const oci::Mount& mount) { return mount.destination == point.destination; });
    request.mounts.push_back(ToMount(point));
  }
  if (record.host.network_mode == "bridge") {
    request.network_namespace = NetworkNamespacePath(record.id);
  }
  if (record.host.network_mode.starts_with("container:")) {
    request.network_namespace = TRY(NamespaceOf(record.host.network_mode, "net"));
  }
  if (record.host.ipc_mode.starts_with("container:")) {
    request.ipc_namespace = TRY(NamespaceOf(record.host.ipc_mode, "ipc"));
  }
  if (record.host.pid_mode.starts_with("container:")) {
    request.pid_namespace = TRY(NamespaceOf(record.host.pid_mode, "pid"));
  }
  request.uts_hostname = record.hostname;
  request.default_cgroup_parent = options_.cgroup_parent;
  request.init_program = options_.programs_directory + "/gantry-init";
  request.unified_cgroups = unified_cgroups_;
  return MakeSpec(request);
}

Result<std::string> Engine::NamespaceOf(const std::string& mode, std::string_view kind) const {
  std::string reference = mode.substr(mode.find(':') + 1);
  auto other = TRY(Find(reference));
  Container::RecordPointer record = other->record();
  if (!record->state.IsAlive()) {
    return MakeError(ErrorKind::kAborted, "cannot join {} namespace of a non running container: {}",
                     kind, reference);
  }
  return fmt::format("/proc/{}/ns/{}", record->state.pid, kind);
}

Result<std::string> Engine::AttachNetwork(const ContainerRecord& record) {
  const std::string& mode = record.host.network_mode;
  if (mode == "host" || mode == "none" || mode.starts_with("container:")) return std::string();
  networks::AttachRequest request;
  request.container_id = record.id;
  if (mode != "bridge") request.network = mode;
  request.hostname = record.hostname;
  request.ports = TRY(ParsePortBindings(record.config, record.host));
  if (!record.config.mac_address.empty()) {
    request.mac = TRY(formats::MacAddress::Parse(record.config.mac_address));
  }
  networks::Endpoint endpoint =
      TRY_WITH(networks_->Attach(request), "failed to set up container networking");
  return endpoint.address.ToString();
}

Result<std::string> Engine::StdoutUri(const ContainerRecord& record) const {
  StdioUri uri = TRY(MakeStdioUri(record, AttachSocket(record.id, "init"), LogPath(record.id)));
  return uri.Format();
}

Result<Engine::ExecBasis> Engine::BasisForExec(const ContainerRecord& record) {
  UniqueFd root = TRY(kernel::OpenRoot(fmt::format("/proc/{}/root", record.state.pid)));
  ExecBasis basis;
  basis.accounts = TRY(ReadAccounts(root));
  SpecRequest request;
  request.id = record.id;
  request.config = &record.config;
  request.host = &record.host;
  request.accounts = basis.accounts;
  request.uts_hostname = record.hostname;
  basis.process = TRY(MakeContainerProcess(request));
  return basis;
}

}  // namespace gantry::engine
