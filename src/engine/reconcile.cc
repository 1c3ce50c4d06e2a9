// SPDX-License-Identifier: Apache-2.0
//
// Making records and reality one again, at start and whenever the connection to the container
// daemon was lost: containerd's event stream has no cursor, so every subscription is followed by a
// comparison with its tasks (docs/walk-crash.md).
#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <thread>

#include "base/log.h"
#include "base/random.h"
#include "engine/engine.h"
#include "engine/health.h"
#include "engine/new_image.h"
#include "engine/shared_memory.h"
#include "engine/store.h"

namespace gantry::engine {
namespace {

constexpr std::chrono::seconds kReconnectBound(5);
constexpr std::chrono::milliseconds kRetryDelay(100);
// What a killed gantryd had asked for may be done by the container daemon after everything was
// compared; nothing tells when the last of it is.
constexpr std::chrono::seconds kLateRequests(5);
// A container whose end nobody saw.
constexpr uint32_t kUnknownExit = 255;

void EmptyTrash(const std::string& directory) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(directory, error)) {
    std::filesystem::remove_all(entry.path(), error);
    if (error) log::Warning("emptying the trash: {}: {}", entry.path().string(), error.message());
  }
}

// Nothing is wrong but the moment.
bool MayPass(const Error& error) {
  return error.kind() == ErrorKind::kUnavailable || error.kind() == ErrorKind::kCancelled ||
         error.kind() == ErrorKind::kDeadlineExceeded;
}

}  // namespace

Result<> Engine::Connect(std::chrono::milliseconds bound) {
  auto deadline = SteadyClock::now() + bound;
  for (;;) {
    auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - SteadyClock::now());
    Result<> connected = ConnectOnce(std::max(left, kRetryDelay));
    if (!connected.ok() && (!MayPass(connected.error()) || SteadyClock::now() > deadline)) {
      return connected;
    }
    if (connected.ok()) break;
    // The container daemon, too, may be killed at any time.
    log::Warning("connecting to the container daemon: {}; trying again",
                 connected.error().message());
    std::this_thread::sleep_for(kRetryDelay);
  }
  workers_.Run([trash = options_.root + "/engine/trash"] { EmptyTrash(trash); });
  timers_->loop().Post([this] {
    timers_->loop().After(kLateRequests,
                          [this] { workers_.Run([this] { RemoveLateContainers(); }); });
  });
  MutexLock lock(mutex_);
  connecting_ = broken_;
  if (broken_) workers_.Run([this] { Reconnect(); });
  return {};
}

Result<> Engine::ConnectOnce(std::chrono::milliseconds bound) {
  TRY(containerd_->Version(bound));
  TRY(CheckSnapshotter());
  TRY(containerd_->EnsureNamespace());
  // The work of an engine that was killed; nobody waits for it.
  EndLeasesLater(TRY(Lease::ListOfBefore(*containerd_)));
  TRY(networks_->EnsureDefaultBridge());
  TRY(ReconcileNetworks());
  TRY(Subscribe());
  TRY(TellUntold());
  TRY(ReconcileExecs(/*first=*/true));
  TRY(Reconcile(/*first=*/true));
  TRY(ReconcileVolumes());
  SweepDirectories();
  return {};
}

void Engine::EndLeasesLater(std::vector<std::string> ids) {
  if (ids.empty()) return;
  workers_.Run([this, ids = std::move(ids)] {
    for (const std::string& id : ids) {
      Result<> ended = Lease::End(*containerd_, id);
      while (!ended.ok() && MayPass(ended.error()) && !ShuttingDown()) {
        std::this_thread::sleep_for(kRetryDelay);
        ended = Lease::End(*containerd_, id);
      }
      if (!ended.ok()) log::Warning("ending lease {}: {}", id, ended.error().message());
    }
  });
}

Result<> Engine::CheckSnapshotter() {
  auto capabilities =
      TRY_WITH(containerd_->SnapshotterCapabilities(options_.snapshotter), "storage-driver");
  layer_quotas_ =
      std::find(capabilities.begin(), capabilities.end(), "quota") != capabilities.end();
  if (options_.layer_bytes == 0 || layer_quotas_) return {};
  return FailedPrecondition(
      "storage-opts: size: {} has no quotas on this file system (hint: mount xfs with pquota, ext4 "
      "with prjquota)",
      options_.snapshotter);
}

// Every byte belongs to a record: directories that none names go into the trash, attach sockets and
// shared memory of containers that do not run go away.
void Engine::SweepDirectories() {
  std::set<std::string, std::less<>> alive;
  for (const std::shared_ptr<Container>& container : All()) {
    if (container->record()->state.IsAlive()) alive.insert(AttachSocketPrefix(container->id()));
  }
  std::error_code error;
  for (const auto& entry :
       std::filesystem::directory_iterator(options_.root + "/containers", error)) {
    std::string id = entry.path().filename();
    if (FindById(id)) continue;
    log::Info("removing the directory of container {}, of which there is no record", id);
    std::filesystem::rename(entry.path(),
                            fmt::format("{}/engine/trash/{}", options_.root, RandomHex(8)), error);
    if (error) log::Warning("moving '{}' into the trash: {}", id, error.message());
  }
  for (const auto& entry : std::filesystem::directory_iterator(options_.state + "/io", error)) {
    std::string path = entry.path();
    bool used = std::any_of(alive.begin(), alive.end(),
                            [&](const std::string& prefix) { return path.starts_with(prefix); });
    if (!used) std::filesystem::remove(entry.path(), error);
  }
  for (const auto& entry : std::filesystem::directory_iterator(options_.state + "/shm", error)) {
    auto container = FindById(entry.path().filename());
    if (container && container->record()->state.IsAlive()) continue;
    Result<> dropped = UnmountSharedMemory(entry.path());
    if (!dropped.ok()) log::Warning("{}", dropped.error().message());
  }
}

Result<> Engine::Subscribe() {
  {
    MutexLock lock(mutex_);
    broken_ = false;
  }
  auto subscription =
      containerd_->SubscribeTasks([this](const client::TaskEvent& event) { OnTaskEvent(event); },
                                  [this](const Error& error) { OnSubscriptionEnded(error); });
  std::unique_ptr<client::Subscription> old;
  MutexLock lock(mutex_);
  old = std::exchange(subscription_, std::move(subscription));
  return {};
}

void Engine::OnSubscriptionEnded(const Error& error) {
  if (ShuttingDown()) return;
  log::Warning("the container daemon is gone: {}", error.message());
  MutexLock lock(mutex_);
  broken_ = true;
  if (std::exchange(connecting_, true)) return;
  workers_.Run([this] { Reconnect(); });
}

void Engine::RemoveLateContainers() {
  if (ShuttingDown()) return;
  Result<> removed = RemoveLeftContainers(/*first=*/false);
  // The container daemon is gone: the next connection brings the next comparison.
  if (!removed.ok()) log::Warning("looking for late containers: {}", removed.error().message());
}

// Until a subscription holds and everything was compared under it, or the engine stops.
void Engine::Reconnect() {
  for (;;) {
    auto connect = [&]() -> Result<> {
      TRY(containerd_->Version(kReconnectBound));
      TRY(Subscribe());
      TRY(ReconcileExecs(/*first=*/false));
      return Reconcile(/*first=*/false);
    };
    Result<> connected = connect();
    {
      MutexLock lock(mutex_);
      if (shutting_down_) return;
      if (connected.ok() && !broken_) {
        connecting_ = false;
        break;
      }
    }
    if (!connected.ok()) {
      log::Warning("reconnecting to the container daemon: {}", connected.error().message());
    }
    std::this_thread::sleep_for(kRetryDelay);
  }
  log::Info("the container daemon is back");
}

Result<> Engine::ReconcileNetworks() {
  networks::ReconcileReport report = TRY(networks_->Reconcile());
  for (const std::string& change : report.changes) log::Info("networks: {}", change);
  return {};
}

Result<> Engine::Reconcile(bool first) {
  std::map<std::string, client::TaskState> tasks;
  for (client::TaskState& task : TRY(containerd_->ListTasks())) {
    tasks.emplace(task.container_id, std::move(task));
  }
  for (const std::shared_ptr<Container>& container : All()) {
    auto task = tasks.find(container->id());
    ReconcileContainer(container, task == tasks.end() ? nullptr : &task->second, first);
  }
  TRY(RemoveLeftContainers(first));
  if (!first) return {};
  for (const networks::Endpoint& endpoint : networks_->ListEndpoints()) {
    auto container = FindById(endpoint.container_id);
    bool needed = container && container->record()->state.IsAlive();
    if (!needed) TRY(networks_->Detach(endpoint.container_id));
  }
  for (const std::shared_ptr<Container>& container : All()) {
    auto turn = container->TakeTurn(std::chrono::milliseconds(0));
    // Whoever has the turn began after the start of this engine: nothing is half done.
    if (turn.ok() && container->record()->state.IsAlive()) {
      ReconcileAttachments(*container->record());
    }
  }
  return {};
}

// What a crash has left between two steps: of the container daemon's containers those that do not
// run, and at first those that no record names.
Result<> Engine::RemoveLeftContainers(bool first) {
  for (const std::string& id : TRY(containerd_->ListContainers())) {
    if (auto container = FindById(id)) {
      // Killed between the two deletions of an ended task.
      auto turn = container->TakeTurn(std::chrono::milliseconds(0));
      if (turn.ok() && !container->record()->state.IsAlive()) TryCleanTask(id);
      continue;
    }
    if (!first) continue;
    log::Info("removing container {} of which there is no record", id);
    TryCleanTask(id);
    Result<> removed = containerd_->RemoveSnapshot(options_.snapshotter, id);
    if (!removed.ok() && removed.error().kind() != ErrorKind::kNotFound) return removed;
  }
  return {};
}

void Engine::ReconcileContainer(const std::shared_ptr<Container>& container,
                                const client::TaskState* task, bool first) {
  auto turn = container->TakeTurn(std::chrono::milliseconds(0));
  if (turn.ok()) return ReconcileWithTurn(*container, task, first);
  // Somebody is starting, ending or removing it; what was listed is old when they are done.
  workers_.Run([this, container] { ReconcileLater(container); });
}

void Engine::ReconcileLater(const std::shared_ptr<Container>& container) {
  auto turn = container->TakeTurn();
  if (!turn.ok()) return log::Failure("comparing: {}", turn.error().message());
  if (ShuttingDown() || FindById(container->id()) != container) return;
  auto task = containerd_->GetTask(container->id(), "");
  // An error: the connection broke again, which brings the next comparison.
  if (!task.ok() && task.error().kind() != ErrorKind::kNotFound) {
    return log::Warning("comparing {}: {}", container->id(), task.error().message());
  }
  ReconcileWithTurn(*container, task.ok() ? &*task : nullptr, false);
}

void Engine::ReconcileWithTurn(Container& container, const client::TaskState* task, bool first) {
  Container::RecordPointer record = container.record();
  const std::string& id = record->id;
  Phase phase = record->state.phase;
  // What a killed gantryd has not sent, also of one that has ended.
  if (first && phase != Phase::kRemoving) ForwardLog(*record, true);
  // Its build has ended with the engine that ran it.
  if (first && record->for_build && phase != Phase::kRemoving) {
    container.Update([](ContainerRecord& changed) { changed.state.removes_volumes = true; });
    Result<> begun = BeginRemoval(container);
    if (!begun.ok()) log::Failure("removing {}: {}", id, begun.error().message());
    record = container.record();
    phase = record->state.phase;
  }
  if (phase == Phase::kRemoving) {
    if (first) PublishOnce(ContainerEvent("destroy", *record), record->created);
    Result<> removed = FinishRemoval(*record);
    if (!removed.ok()) log::Failure("removing {}: {}", id, removed.error().message());
    return;
  }
  bool task_alive = task != nullptr && (task->status == client::TaskStatus::kRunning ||
                                        task->status == client::TaskStatus::kPaused ||
                                        task->status == client::TaskStatus::kPausing);
  // A dead gantryd may not have come to say so in the record; a living one knows what it started.
  if (task_alive && (first || record->state.IsAlive())) return AdoptTask(container, *task, first);
  if (record->state.IsAlive()) {
    client::Exit exit{0, kUnknownExit, WallClock::now()};
    if (task != nullptr && task->status == client::TaskStatus::kStopped) {
      exit = {0, task->exit_status, task->exited_at};
    } else if (task == nullptr) {
      // A list leaves out whom it could not ask in time.
      auto asked = containerd_->GetTask(id, "");
      if (asked.ok() || asked.error().kind() != ErrorKind::kNotFound) {
        log::Warning("container {} is not in the list of tasks, and is not known to have ended",
                     id);
        return;
      }
    }
    FinishExit(container, exit, first ? Teller::kMaybeEarlier : Teller::kThis);
    return;
  }
  // One that was made and never started, that belongs to a start that failed, or that ended and was
  // never deleted.
  if (task != nullptr) TryCleanTask(id);
  if (!first) return;
  const std::string& policy = record->host.restart_policy.name;
  bool wanted =
      policy == "always" || (policy == "unless-stopped" && !record->state.stopped_by_user);
  if (phase == Phase::kRestarting ||
      (wanted && phase == Phase::kExited && record->state.has_been_started)) {
    container.Update([](ContainerRecord& changed) {
      changed.state.phase = Phase::kRestarting;
      changed.state.restart_doublings = 0;
    });
    ScheduleRestart(container);
  }
}

void Engine::AdoptTask(Container& container, const client::TaskState& task, bool first) {
  Phase phase = task.status == client::TaskStatus::kRunning ? Phase::kRunning : Phase::kPaused;
  const ContainerState state = container.record()->state;
  bool unrecorded = !state.IsAlive();
  if (state.phase == phase && state.pid == task.pid) {
    // After a break of the connection alone its probes have never stopped.
    if (first) TellProbes(*container.record());
    return;
  }
  container.Update([&](ContainerRecord& changed) {
    // Killed between the start of the task and the record of it.
    if (!changed.state.IsAlive()) {
      changed.state.started_at = WallClock::now();
      changed.state.has_been_started = true;
      changed.state.exit_code = 0;
      changed.state.finished_at = {};
      changed.state.phase = Phase::kRunning;
      if (ProbeCommand(changed.config)) changed.state.health.emplace();
    }
    changed.state.pid = task.pid;
    changed.state.phase = phase;
  });
  if (first) TellProbes(*container.record());
  // The event comes with the record, so it was not told.
  Result<> saved = unrecorded ? SaveAndPublish(container, "start") : Save(container);
  if (!saved.ok()) log::Failure("container {}: {}", container.id(), saved.error().message());
}

}  // namespace gantry::engine
