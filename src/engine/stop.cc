// SPDX-License-Identifier: Apache-2.0
//
// stop, restart, kill, pause, unpause, resize, update: what is done to a container that runs.
#include <csignal>
#include <future>

#include "base/log.h"
#include "base/undo.h"
#include "engine/engine.h"
#include "engine/oci_spec.h"
#include "engine/signals.h"
#include "engine/store.h"
#include "wire/worker_pool.h"

namespace gantry::engine {
namespace {

constexpr int kKillRetries = 5;

// True when the container is not running any more before the time is up.
bool WaitForExit(Container& container, std::optional<std::chrono::seconds> bound) {
  auto ended = std::make_shared<std::promise<void>>();
  std::future<void> future = ended->get_future();
  wire::WorkerPool::Blocked blocked;
  uint64_t wait = container.Wait(WaitCondition::kNotRunning,
                                 [ended](const WaitResult&) { ended->set_value(); });
  if (!bound) {
    future.wait();
    return true;
  }
  if (future.wait_for(*bound) == std::future_status::ready) return true;
  container.CancelWait(wait);
  return false;
}

Error StillRestarting(const Container& container) {
  return MakeError(ErrorKind::kAborted,
                   "Container {} is restarting, wait until the container is running",
                   container.id());
}

Error NotRunning(const Container& container) {
  return MakeError(ErrorKind::kAborted, "Container {} is not running", container.id());
}

}  // namespace

Result<> Engine::StopAlive(Container& container, std::optional<int64_t> timeout,
                           std::string_view signal) {
  Container::RecordPointer record = container.record();
  const ContainerConfig& config = record->config;
  std::string_view wanted = !signal.empty() ? signal : config.stop_signal;
  int number = wanted.empty() ? SIGTERM : TRY(ParseSignal(wanted));
  int64_t seconds =
      timeout.value_or(config.stop_timeout.value_or(settings()->default_stop_timeout));
  auto send = [&](int sent) -> Result<> {
    Result<> killed = containerd_->Kill(record->id, "", static_cast<uint32_t>(sent), false);
    // The container daemon was killed under the call; the next one waits until it is back.
    for (int again = 0; again < kKillRetries && !killed.ok(); ++again) {
      if (killed.error().kind() != ErrorKind::kUnavailable) break;
      killed = containerd_->Kill(record->id, "", static_cast<uint32_t>(sent), false);
    }
    bool gone = !killed.ok() && killed.error().kind() == ErrorKind::kNotFound;
    if (!killed.ok() && !gone) return killed;
    Publish("kill", *record, {{"signal", std::to_string(sent)}});
    // A frozen process gets its signal when it thaws.
    if (record->state.phase == Phase::kPaused) (void)containerd_->Resume(record->id);
    return {};
  };
  TRY(send(number));
  std::optional<std::chrono::seconds> bound;
  if (seconds >= 0) bound = std::chrono::seconds(seconds);
  if (number == SIGKILL) bound = kKillBound;
  if (WaitForExit(container, bound)) return {};
  TRY(send(SIGKILL));
  if (WaitForExit(container, kKillBound)) return {};
  return MakeError(ErrorKind::kDeadlineExceeded,
                   "container {} did not end within {} s after it was killed", record->id,
                   kKillBound.count());
}

Result<Engine::Outcome> Engine::Stop(std::string_view reference, std::optional<int64_t> timeout,
                                     std::string_view signal) {
  auto container = TRY(Find(reference));
  {
    // A start that is under way is finished first; a restart that is due is called off.
    auto turn = TRY(container->TakeTurn());
    const ContainerState state = container->record()->state;
    if (state.phase == Phase::kRestarting) {
      TRY(CallRestartOff(*container));
      return Outcome::kDone;
    }
    if (!state.IsAlive()) return Outcome::kAlreadySo;
    if (!signal.empty()) TRY(ParseSignal(signal));
    container->Update([](ContainerRecord& record) { record.state.stopped_by_user = true; });
    TRY(Save(*container));
  }
  TRY(StopAlive(*container, timeout, signal));
  Publish("stop", *container->record());
  return Outcome::kDone;
}

Result<> Engine::CallRestartOff(Container& container) {
  container.Update([](ContainerRecord& record) {
    record.state.stopped_by_user = true;
    record.state.phase = Phase::kExited;
  });
  return SaveAndPublish(container, "stop");
}

Result<> Engine::Restart(std::string_view reference, std::optional<int64_t> timeout,
                         std::string_view signal) {
  auto container = TRY(Find(reference));
  if (!signal.empty()) TRY(ParseSignal(signal));
  Container::RecordPointer record = TRY(container->RecordAfterStart());
  if (record->state.IsAlive()) {
    // Neither its restart policy nor --rm may act on this exit.
    auto mark = [&](bool on) {
      container->Update([&](ContainerRecord& changed) {
        if (on) changed.state.stopped_by_user = true;
        changed.state.restarting_by_user = on;
      });
    };
    mark(true);
    Undo undo;
    undo.Push([&] { mark(false); });
    TRY(StopAlive(*container, timeout, signal));
    Publish("stop", *container->record());
  }
  TRY(Start(container->id()));
  Publish("restart", *container->record());
  return {};
}

Result<> Engine::Kill(std::string_view reference, std::string_view signal) {
  auto container = TRY_WITH(Find(reference), "cannot kill container: {}", reference);
  int number = signal.empty() ? SIGKILL : TRY(ParseSignal(signal));
  Container::RecordPointer record = TRY(container->RecordAfterStart());
  if (record->state.phase == Phase::kRestarting) {
    auto turn = TRY(container->TakeTurn());
    record = container->record();
    if (record->state.phase == Phase::kRestarting) return CallRestartOff(*container);
  }
  if (!record->state.IsAlive()) {
    return NotRunning(*container).AddContext(fmt::format("cannot kill container: {}", reference));
  }
  // docker's rule: without a stop signal of its own, whatever a user sends ends the restarts.
  const std::string& stop_signal = record->config.stop_signal;
  if (number == SIGKILL || stop_signal.empty() || number == TRY(ParseSignal(stop_signal))) {
    container->Update([](ContainerRecord& changed) { changed.state.stopped_by_user = true; });
    TRY(Save(*container));
  }
  Result<> killed = containerd_->Kill(record->id, "", static_cast<uint32_t>(number), false);
  if (!killed.ok()) {
    bool gone = killed.error().kind() == ErrorKind::kNotFound;
    if (!gone) return killed;
    return NotRunning(*container).AddContext(fmt::format("cannot kill container: {}", reference));
  }
  // Somebody else may have resumed it, and it may have ended since: what counts is its end.
  Result<> resumed;
  if (record->state.phase == Phase::kPaused && number == SIGKILL) {
    resumed = containerd_->Resume(record->id);
  }
  Publish("kill", *record, {{"signal", std::to_string(number)}});
  // As docker does: after SIGKILL the container has ended when the answer comes.
  if (number == SIGKILL && !WaitForExit(*container, kKillBound)) {
    TRY(std::move(resumed));
    return MakeError(ErrorKind::kDeadlineExceeded, "container {} did not end within {} s",
                     record->id, kKillBound.count());
  }
  return {};
}

Result<> Engine::Pause(std::string_view reference) {
  auto container = TRY(Find(reference));
  auto turn = TRY(container->TakeTurn());
  Container::RecordPointer record = container->record();
  if (record->state.phase == Phase::kPaused) {
    return MakeError(ErrorKind::kAborted, "container {} is already paused", record->id);
  }
  if (record->state.phase == Phase::kRestarting) return StillRestarting(*container);
  if (record->state.phase != Phase::kRunning) return NotRunning(*container);
  TRY(containerd_->Pause(record->id));
  container->Update([](ContainerRecord& changed) {
    changed.state.phase = Phase::kPaused;
    if (changed.state.health) changed.state.health->status = HealthStatus::kUnhealthy;
  });
  TellProbes(*container->record());
  return SaveAndPublish(*container, "pause");
}

Result<> Engine::Unpause(std::string_view reference) {
  auto container = TRY(Find(reference));
  auto turn = TRY(container->TakeTurn());
  Container::RecordPointer record = container->record();
  if (record->state.phase != Phase::kPaused) {
    return MakeError(ErrorKind::kAborted, "container {} is not paused", record->id);
  }
  TRY(containerd_->Resume(record->id));
  container->Update([](ContainerRecord& changed) { changed.state.phase = Phase::kRunning; });
  TellProbes(*container->record());
  return SaveAndPublish(*container, "unpause");
}

Result<> Engine::Resize(std::string_view reference, uint32_t width, uint32_t height) {
  auto container = TRY(Find(reference));
  Container::RecordPointer record = TRY(container->RecordAfterStart());
  if (!record->state.IsAlive()) return NotRunning(*container);
  TRY(containerd_->Resize(record->id, "", width, height));
  Publish("resize", *record,
          {{"height", std::to_string(height)}, {"width", std::to_string(width)}});
  return {};
}

}  // namespace gantry::engine
