// SPDX-License-Identifier: Apache-2.0
//
// Making records and reality one again, at start and whenever the connection to the container
// daemon was lost: containerd's event stream has no cursor, so every subscription is followed by a
// comparison with its tasks (docs/walk-crash.md).
#include <algorithm>
#include <filesystem>
#include <map>
#include <set>

#include "base/log.h"
#include "base/random.h"
#include "engine/engine.h"
#include "engine/store.h"

namespace gantry::engine {
namespace {

constexpr std::chrono::seconds kReconnectBound(5);
// A container whose end nobody saw.
constexpr uint32_t kUnknownExit = 255;

void EmptyTrash(const std::string& directory) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(directory, error)) {
    std::filesystem::remove_all(entry.path(), error);
    if (error) log::Warning("emptying the trash: {}: {}", entry.path().string(), error.message());
  }
}

}  // namespace

Result<> Engine::Connect(std::chrono::milliseconds bound) {
  auto deadline = SteadyClock::now() + bound;
  for (;;) {
    auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - SteadyClock::now());
    Result<> connected = ConnectOnce(left);
    // The daemon may be killed while we talk to it; the next round waits until it is there again.
    bool again = !connected.ok() && connected.error().kind() == ErrorKind::kUnavailable &&
                 SteadyClock::now() < deadline;
    if (!again) return connected;
    log::Warning("connecting to the container daemon: {}", connected.error().message());
  }
}

Result<> Engine::ConnectOnce(std::chrono::milliseconds bound) {
  TRY(containerd_->Version(bound));
  TRY(containerd_->EnsureNamespace());
  TRY(networks_->EnsureDefaultBridge());
  TRY(ReconcileNetworks());
  TRY(Subscribe());
  TRY(Reconcile(/*first=*/true));
  SweepDirectories();
  workers_.Run([trash = options_.root + "/engine/trash"] { EmptyTrash(trash); });
  return {};
}

// Every byte belongs to a record: directories that none names go into the trash, attach sockets of
// containers that do not run are unlinked.
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
}

Result<> Engine::Subscribe() {
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
  workers_.Run([this] {
    // Waits inside, bounded, until the daemon answers or the engine stops.
    while (!ShuttingDown() && !containerd_->Version(kReconnectBound).ok()) {
    }
    if (ShuttingDown()) return;
    Result<> again = Subscribe();
    if (again.ok()) again = Reconcile(/*first=*/false);
    if (again.ok()) {
      log::Info("the container daemon is back");
    } else {
      log::Failure("reconnecting to the container daemon: {}", again.error().message());
    }
  });
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
    ReconcileContainer(*container, task == tasks.end() ? nullptr : &task->second, first);
  }
  if (!first) return {};
  // What no record names is what a crash has left between two steps.
  for (const std::string& id : TRY(containerd_->ListContainers())) {
    if (FindById(id)) continue;
    log::Info("removing container {} of which there is no record", id);
    (void)containerd_->Kill(id, "", 9, true);
    CleanTask(id);
    (void)containerd_->RemoveSnapshot(options_.snapshotter, id);
  }
  for (const networks::Endpoint& endpoint : networks_->ListEndpoints()) {
    auto container = FindById(endpoint.container_id);
    bool needed = container && container->record()->state.IsAlive();
    if (!needed) TRY(networks_->Detach(endpoint.container_id));
  }
  return {};
}

void Engine::ReconcileContainer(Container& container, const client::TaskState* task, bool first) {
  // Whoever holds the turn meanwhile sees the daemon's answers for itself.
  auto turn = container.TakeTurn(first ? std::chrono::seconds(120) : std::chrono::seconds(1));
  if (!turn.ok()) return;
  Container::RecordPointer record = container.record();
  const std::string& id = record->id;
  Phase phase = record->state.phase;
  if (phase == Phase::kRemoving) {
    Result<> removed = FinishRemoval(*record);
    if (!removed.ok()) log::Failure("removing {}: {}", id, removed.error().message());
    return;
  }
  bool task_alive = task != nullptr && (task->status == client::TaskStatus::kRunning ||
                                        task->status == client::TaskStatus::kPaused ||
                                        task->status == client::TaskStatus::kPausing);
  if (task_alive) {
    bool paused = task->status != client::TaskStatus::kRunning;
    container.Update([&](ContainerRecord& changed) {
      // Killed between the start of the task and the record of it.
      if (!changed.state.IsAlive()) {
        changed.state.started_at = WallClock::now();
        changed.state.has_been_started = true;
        changed.state.phase = Phase::kRunning;
      }
      changed.state.pid = task->pid;
      changed.state.phase = paused ? Phase::kPaused : Phase::kRunning;
    });
    Result<> saved = Save(container);
    if (!saved.ok()) log::Failure("container {}: {}", id, saved.error().message());
    return;
  }
  if (record->state.IsAlive()) {
    client::Exit exit{0, kUnknownExit, WallClock::now()};
    if (task != nullptr && task->status == client::TaskStatus::kStopped) {
      exit = {0, task->exit_status, task->exited_at};
    }
    FinishExit(container, exit);
    return;
  }
  if (task != nullptr) {
    // A task that was made and never started, or ended and never deleted.
    (void)containerd_->Kill(id, "", 9, true);
    CleanTask(id);
  }
  const std::string& policy = record->host.restart_policy.name;
  bool wanted =
      policy == "always" || (policy == "unless-stopped" && !record->state.stopped_by_user);
  if (phase == Phase::kRestarting ||
      (first && wanted && phase == Phase::kExited && record->state.has_been_started)) {
    container.Update([](ContainerRecord& changed) { changed.state.phase = Phase::kRestarting; });
    ScheduleRestart(id, 0);
  }
}

}  // namespace gantry::engine
