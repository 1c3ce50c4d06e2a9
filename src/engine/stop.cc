// SPDX-License-Identifier: Apache-2.0
//
// stop, restart, kill, pause, unpause, resize, update: what is done to a container that runs.
#include <csignal>
#include <future>
#include <utility>

#include "base/log.h"
#include "base/random.h"
#include "base/undo.h"
#include "engine/engine.h"
#include "engine/oci_spec.h"
#include "engine/signals.h"
#include "engine/store.h"
#include "wire/worker_pool.h"

namespace gantry::engine {
namespace {

constexpr int kKillRetries = 5;

Error StillRestarting(const Container& container) {
  return MakeError(ErrorKind::kAborted,
                   "Container {} is restarting, wait until the container is running",
                   container.id());
}

Error NotRunning(const Container& container) {
  return MakeError(ErrorKind::kAborted, "Container {} is not running", container.id());
}

}  // namespace

// An event that is told of a signal, also by the next start when a kill -9 comes after this.
// Whether the signal was sent before that kill nobody can ask; it is told then, so that none is
// missed.
struct Engine::Signal {
  int number = 0;
  Untold untold;
};

Engine::Signal Engine::MakeSignal(const ContainerRecord& record, int number) {
  Event event = ContainerEvent("kill", record, {{"signal", std::to_string(number)}});
  // Several may be on their way to one container.
  return {number, {std::move(event), RandomHex(8)}};
}

Result<Engine::Signal> Engine::StopSignal(const ContainerRecord& record, std::string_view wanted) {
  if (wanted.empty()) wanted = record.config.stop_signal;
  return MakeSignal(record, wanted.empty() ? SIGTERM : TRY(ParseSignal(wanted)));
}

// A full disk must not keep a container alive.
void Engine::NoteSignal(const Signal& signal) {
  Result<> noted = store_->untold().Put(signal.untold.event, signal.untold.subject);
  if (!noted.ok()) log::Warning("noting a signal: {}", noted.error().message());
}

// A container that is gone got it as far as anybody can tell.
Result<> Engine::SendSignal(const ContainerRecord& record, const Signal& signal) {
  auto send = [&] {
    return containerd_->Kill(record.id, "", static_cast<uint32_t>(signal.number), false);
  };
  Result<> killed = send();
  // The container daemon was killed under the call; the next one waits until it is back.
  for (int again = 0; again < kKillRetries && !killed.ok(); ++again) {
    if (killed.error().kind() != ErrorKind::kUnavailable) break;
    killed = send();
  }
  bool gone = !killed.ok() && killed.error().kind() == ErrorKind::kNotFound;
  if (killed.ok() || gone) Publish(signal.untold.event);
  store_->untold().Done(signal.untold.event, signal.untold.subject);
  if (gone) return {};
  return killed;
}

Result<> Engine::KillAlive(Container& container) {
  Signal kill = MakeSignal(*container.record(), SIGKILL);
  NoteSignal(kill);
  return StopAlive(container, {}, kill);
}

Result<> Engine::StopAlive(Container& container, std::optional<int64_t> timeout,
                           const Signal& first) {
  Container::RecordPointer record = container.record();
  auto send = [&](const Signal& signal) -> Result<> {
    TRY(SendSignal(*record, signal));
    // A frozen process gets its signal when it thaws.
    if (record->state.phase == Phase::kPaused) (void)containerd_->Resume(record->id);
    return {};
  };
  int64_t seconds =
      timeout.value_or(record->config.stop_timeout.value_or(settings()->default_stop_timeout));
  TRY(send(first));
  std::optional<std::chrono::seconds> bound;
  if (seconds >= 0) bound = std::chrono::seconds(seconds);
  if (first.number == SIGKILL) bound = kKillBound;
  if (WaitForExit(container, bound)) return {};
  Signal last = MakeSignal(*record, SIGKILL);
  NoteSignal(last);
  TRY(send(last));
  if (WaitForExit(container, kKillBound)) return {};
  return MakeError(ErrorKind::kDeadlineExceeded,
                   "container {} did not end within {} s after it was killed", record->id,
                   kKillBound.count());
}

Result<Engine::Outcome> Engine::Stop(std::string_view reference, std::optional<int64_t> timeout,
                                     std::string_view signal) {
  auto container = TRY(Find(reference));
  Signal first;
  {
    // A start that is under way is finished first; a restart that is due is called off.
    auto turn = TRY(container->TakeTurn());
    Container::RecordPointer record = container->record();
    if (record->state.phase == Phase::kRestarting) {
      TRY(CallRestartOff(*container));
      return Outcome::kDone;
    }
    if (!record->state.IsAlive()) return Outcome::kAlreadySo;
    first = TRY(StopSignal(*record, signal));
    container->Update([](ContainerRecord& changed) { changed.state.stopped_by_user = true; });
    TRY(Save(*container, &first.untold.event, first.untold.subject));
  }
  TRY(StopAlive(*container, timeout, first));
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
    Signal first = TRY(StopSignal(*record, signal));
    mark(true);
    Undo undo;
    undo.Push([&] { mark(false); });
    NoteSignal(first);
    TRY(StopAlive(*container, timeout, first));
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
  Signal sent = MakeSignal(*record, number);
  const Untold& untold = sent.untold;
  // docker's rule: without a stop signal of its own, whatever a user sends ends the restarts.
  const std::string& stop_signal = record->config.stop_signal;
  if (number == SIGKILL || stop_signal.empty() || number == TRY(ParseSignal(stop_signal))) {
    container->Update([](ContainerRecord& changed) { changed.state.stopped_by_user = true; });
    TRY(Save(*container, &untold.event, untold.subject));
  } else {
    NoteSignal(sent);
  }
  Undo done;
  done.Push([&] { store_->untold().Done(untold.event, untold.subject); });
  Result<> killed = containerd_->Kill(record->id, "", static_cast<uint32_t>(number), false);
  if (!killed.ok()) {
    bool gone = killed.error().kind() == ErrorKind::kNotFound;
    if (!gone) return killed;
    return NotRunning(*container).AddContext(fmt::format("cannot kill container: {}", reference));
  }
  Publish(untold.event);
  done.Run();
  // Somebody else may have resumed it, and it may have ended since: what counts is its end.
  Result<> resumed;
  if (record->state.phase == Phase::kPaused && number == SIGKILL) {
    resumed = containerd_->Resume(record->id);
  }
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
    // docker has no better kind for it either.
    return MakeError(ErrorKind::kUnknown, "Container {} is not paused", record->id);
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
