// SPDX-License-Identifier: Apache-2.0
//
// The end of a container: its state, its network, whoever waits, removal (--rm) or restart.
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <future>

#include "base/log.h"
#include "engine/engine.h"
#include "engine/store.h"

namespace gantry::engine {
namespace {

constexpr std::chrono::milliseconds kFirstRestartDelay(100);
constexpr std::chrono::milliseconds kLongestRestartDelay(60'000);
// A container that ran this long begins its delays anew.
constexpr std::chrono::seconds kRanWell(10);

std::chrono::milliseconds RestartDelay(int doublings) {
  auto delay = kFirstRestartDelay;
  for (int i = 0; i < doublings && delay < kLongestRestartDelay; ++i) delay *= 2;
  return std::min(delay, kLongestRestartDelay);
}

}  // namespace

void Engine::OnTaskEvent(const client::TaskEvent& event) {
  if (!event.exec_id.empty()) {
    if (options_.exec_event) options_.exec_event(event);
    return;
  }
  using Kind = client::TaskEvent::Kind;
  if (event.kind == Kind::kExit) {
    client::Exit exit{event.pid, event.exit_status, event.exited_at};
    workers_.Run([this, id = event.container_id, exit] { HandleExit(id, exit); });
  } else if (event.kind == Kind::kOom) {
    auto container = FindById(event.container_id);
    if (!container) return;
    container->Update([](ContainerRecord& record) { record.state.oom_killed = true; });
    Publish("oom", *container->record());
  }
}

void Engine::HandleExit(const std::string& id, const client::Exit& exit) {
  auto container = FindById(id);
  if (!container) return;
  auto turn = container->TakeTurn();
  if (!turn.ok()) {
    log::Failure("container {} ended: {}", id, turn.error().message());
    return;
  }
  const ContainerState state = container->record()->state;
  // An event of an earlier run, or one that a comparison has dealt with.
  bool current = state.IsAlive() && (exit.pid == 0 || state.pid == exit.pid);
  if (current) FinishExit(*container, exit, Teller::kThis);
}

void Engine::FinishExit(Container& container, const client::Exit& exit, Teller teller) {
  const std::string& id = container.id();
  Container::RecordPointer before = container.record();
  std::vector<networks::Network> left = DetachNetworks(*before);
  // Whoever was killed may have taken it off and told nobody.
  if (teller == Teller::kMaybeEarlier) left = RecordedNetworks(*before);
  ReleaseMounts(*before);
  DropSharedMemory(*before);
  auto ran = exit.exited_at - before->state.started_at;
  bool restart = false;
  container.Update([&](ContainerRecord& record) {
    record.state.pid = 0;
    record.state.exit_code = static_cast<int>(exit.exit_status);
    record.state.finished_at = exit.exited_at;
    record.state.phase = Phase::kExited;
    if (record.state.health) record.state.health->status = HealthStatus::kUnhealthy;
    // At once: nobody must see a container that will restart as one that has ended.
    restart = ShouldRestart(record);
    if (!restart) return;
    record.state.phase = Phase::kRestarting;
    ++record.state.restart_count;
    if (ran >= kRanWell) record.state.restart_doublings = 0;
  });
  TellProbes(*container.record());
  std::map<std::string, std::string> attributes = {
      {"exitCode", std::to_string(exit.exit_status)},
      {"execDuration",
       std::to_string(std::chrono::duration_cast<std::chrono::seconds>(ran).count())}};
  auto tell = [&](const Event& event) {
    if (teller == Teller::kThis) return Publish(event);
    PublishOnce(event, before->state.started_at);
  };
  tell(ContainerEvent("die", *container.record(), std::move(attributes)));
  for (const networks::Network& network : left) tell(NetworkEvent("disconnect", network, id));
  bool for_good = before->host.auto_remove && !before->state.restarting_by_user;
  if (for_good || container.record()->state.removed_at_end) {
    container.NotifyExit();
    Result<> removed = RemoveWithTurn(container);
    if (!removed.ok()) log::Failure("removing {}: {}", id, removed.error().message());
    return;
  }
  Result<> saved = Save(container);
  if (!saved.ok()) log::Failure("container {}: {}", id, saved.error().message());
  container.NotifyExit();
  TryCleanTask(id);
  if (restart) ScheduleRestart(container);
}

bool Engine::ShouldRestart(const ContainerRecord& record) const {
  if (record.state.stopped_by_user || ShuttingDown()) return false;
  const RestartPolicy& policy = record.host.restart_policy;
  if (policy.name == "always" || policy.name == "unless-stopped") return true;
  return policy.name == "on-failure" && record.state.exit_code != 0 &&
         (policy.maximum_retry_count == 0 ||
          record.state.restart_count < policy.maximum_retry_count);
}

void Engine::ScheduleRestart(Container& planned) {
  const std::string& id = planned.id();
  planned.Update([](ContainerRecord& record) {
    ++record.state.restart_number;
    ++record.state.restart_doublings;
  });
  ContainerState state = planned.record()->state;
  auto restart = [this, id, number = state.restart_number] {
    auto container = FindById(id);
    if (!container || ShuttingDown()) return;
    auto turn = container->TakeTurn();
    if (!turn.ok()) return log::Failure("restarting {}: {}", id, turn.error().message());
    const ContainerState now = container->record()->state;
    // Stopped, started or removed by somebody meanwhile.
    if (now.phase != Phase::kRestarting || now.restart_number != number) return;
    Result<> started = StartWithTurn(*container);
    if (started.ok()) return;
    log::Warning("restarting {}: {}", id, started.error().message());
    // The container daemon was killed meanwhile: that is not the container's failure.
    if (started.error().kind() != ErrorKind::kUnavailable) return;
    container->Update([](ContainerRecord& record) { record.state.phase = Phase::kRestarting; });
    ScheduleRestart(*container);
  };
  auto delay = RestartDelay(state.restart_doublings - 1);
  timers_->loop().Post([this, delay, restart] {
    timers_->loop().After(delay, [this, restart] { workers_.Run(restart); });
  });
}

Result<> Engine::CleanTask(const std::string& id) {
  auto gone = [](const Error& error) { return error.kind() == ErrorKind::kNotFound; };
  auto deleted = containerd_->Delete(id);
  // One that runs, or was made and never started; what a shim calls that error differs.
  if (!deleted.ok() && !gone(deleted.error())) {
    auto ended = std::make_shared<std::promise<void>>();
    std::future<void> future = ended->get_future();
    containerd_->WaitAsync(id, "", [ended](const Result<client::Exit>&) { ended->set_value(); });
    Result<> killed = containerd_->Kill(id, "", SIGKILL, true);
    if (!killed.ok() && !gone(killed.error())) {
      return std::move(killed).error().AddContext(fmt::format("killing the task of {}", id));
    }
    if (future.wait_for(kKillBound) != std::future_status::ready) {
      return MakeError(ErrorKind::kDeadlineExceeded, "task of {} did not end within {} s", id,
                       kKillBound.count());
    }
    deleted = containerd_->Delete(id);
  }
  if (!deleted.ok() && !gone(deleted.error())) {
    return std::move(deleted).error().AddContext(fmt::format("deleting the task of {}", id));
  }
  Result<> forgotten = containerd_->DeleteContainer(id);
  if (!forgotten.ok() && !gone(forgotten.error())) {
    return std::move(forgotten).error().AddContext(fmt::format("deleting container {}", id));
  }
  RemoveDeadSockets(id);
  return {};
}

// A shim removes its attach sockets itself, unless it was killed.
void Engine::RemoveDeadSockets(const std::string& id) const {
  std::string init = AttachSocket(id, "init");
  if (::unlink(init.c_str()) < 0) return;
  std::string prefix = std::filesystem::path(AttachSocketPrefix(id)).filename();
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(options_.state + "/io", error)) {
    if (entry.path().filename().string().starts_with(prefix)) ::unlink(entry.path().c_str());
  }
}

void Engine::TryCleanTask(const std::string& id) {
  Result<> cleaned = CleanTask(id);
  if (!cleaned.ok()) log::Warning("{}", cleaned.error().message());
}

}  // namespace gantry::engine
