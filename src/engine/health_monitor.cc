// SPDX-License-Identifier: Apache-2.0
//
// How one probe goes:
//
//   timer ──▶ worker: exec is made and started ──▶ loop: output is read until its end
//                                                   │
//             worker: the record is changed ◀── exit known and output ended, or time-out (SIGKILL)
//                          └──▶ timer again
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <utility>

#include "base/log.h"
#include "engine/engine.h"
#include "engine/execs.h"
#include "engine/health.h"
#include "formats/human_units.h"

namespace gantry::engine {
namespace {

// docker's code of a probe that could not run, or ran too long.
constexpr int kNoExitCode = -1;

}  // namespace

struct HealthMonitor::Probe {
  std::string container;
  uint64_t number = 0;  // of the watch it belongs to
  Healthcheck check;
  std::vector<std::string> command;
  WallTime start{};
  std::string exec;
  UniqueFd socket;  // our end of the relay; the rest only in the loop's thread
  ProbeOutput output;
  std::optional<int> exit_code;
  bool output_ended = false;
  bool finished = false;
  EventLoop::TimerId timer = 0;
};

void HealthMonitor::Begin(const std::string& id) {
  loop_.Post([this, id] {
    Watch& watch = watches_[id];
    if (watch.timer) loop_.CancelTimer(*watch.timer);
    watch = Watch{next_++, std::nullopt};
    Plan(id, watch.number);
  });
}

void HealthMonitor::End(const std::string& id) {
  loop_.Post([this, id] {
    auto found = watches_.find(id);
    if (found == watches_.end()) return;
    if (found->second.timer) loop_.CancelTimer(*found->second.timer);
    watches_.erase(found);
  });
}

bool HealthMonitor::IsCurrent(const std::string& id, uint64_t number) const {
  auto found = watches_.find(id);
  return found != watches_.end() && found->second.number == number;
}

void HealthMonitor::Plan(const std::string& id, uint64_t number) {
  auto container = engine_.Find(id);
  if (!IsCurrent(id, number) || !container.ok()) return;
  Container::RecordPointer record = (*container)->record();
  auto command = ProbeCommand(record->config);
  if (!command) return;
  auto probe = std::make_shared<Probe>();
  probe->container = id;
  probe->number = number;
  probe->check = *record->config.healthcheck;
  probe->command = *std::move(command);
  watches_[id].timer =
      loop_.After(ProbeDelay(probe->check, record->state, WallClock::now()), [this, probe] {
        watches_[probe->container].timer.reset();
        engine_.workers().Run([this, probe] { Launch(probe); });
      });
}

void HealthMonitor::Launch(const std::shared_ptr<Probe>& probe) {
  probe->start = WallClock::now();
  Result<> run = Run(probe);
  if (run.ok()) return;
  loop_.Post(
      [this, probe, message = run.error().message()] { Finish(probe, kNoExitCode, message); });
}

Result<> HealthMonitor::Run(const std::shared_ptr<Probe>& probe) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0) {
    return ErrnoError("making a pair of sockets");
  }
  probe->socket = UniqueFd(ends[0]);
  UniqueFd theirs(ends[1]);
  ExecOptions options;
  options.config.cmd = probe->command;
  options.attach_stdout = true;
  options.attach_stderr = true;
  options.ended = [this, probe](int64_t exit_code) {
    loop_.Post([this, probe, exit_code] {
      probe->exit_code = static_cast<int>(exit_code);
      if (probe->output_ended) Finish(probe, *probe->exit_code, probe->output.text());
    });
  };
  probe->exec = TRY(execs_.Create(probe->container, std::move(options)));
  loop_.Post([this, probe] {
    if (probe->finished) return;
    probe->timer = loop_.After(ProbeTimeout(probe->check), [this, probe] {
      probe->timer = 0;
      engine_.workers().Run([this, probe] { TimeOut(probe); });
      std::string text = fmt::format("Health check exceeded timeout ({})",
                                     formats::FormatGoDuration(ProbeTimeout(probe->check)));
      if (!probe->output.text().empty()) text += ": " + probe->output.text();
      Finish(probe, kNoExitCode, text);
    });
    Result<> watching =
        loop_.Watch(probe->socket, EPOLLIN | EPOLLRDHUP, [this, probe](uint32_t) { Read(probe); });
    if (!watching.ok()) Finish(probe, kNoExitCode, watching.error().message());
  });
  auto take = [&]() -> Result<AttachRequest> {
    return AttachRequest{std::move(theirs), "", kAttachStdout | kAttachStderr, ""};
  };
  Execs::Started started = TRY(execs_.Start(probe->exec, take, 0, 0));
  if (started.failed) return *std::move(started.failed);
  return {};
}

void HealthMonitor::Read(const std::shared_ptr<Probe>& probe) {
  char buffer[16384];
  while (!probe->finished) {
    ssize_t size = ::read(probe->socket.get(), buffer, sizeof buffer);
    if (size > 0) {
      probe->output.TakeFrames({buffer, static_cast<size_t>(size)});
      continue;
    }
    if (size < 0 && errno == EINTR) continue;
    if (size < 0 && errno == EAGAIN) return;
    probe->output_ended = true;
    loop_.Unwatch(probe->socket);
    if (probe->exit_code) Finish(probe, *probe->exit_code, probe->output.text());
    return;
  }
}

void HealthMonitor::TimeOut(const std::shared_ptr<Probe>& probe) {
  Result<> killed = engine_.containerd().Kill(probe->container, probe->exec, SIGKILL, false);
  if (!killed.ok()) log::Debug("killing a probe: {}", killed.error().message());
}

void HealthMonitor::Finish(const std::shared_ptr<Probe>& probe, int exit_code,
                           const std::string& output) {
  if (std::exchange(probe->finished, true)) return;
  if (probe->timer != 0) loop_.CancelTimer(probe->timer);
  if (!probe->output_ended) loop_.Unwatch(probe->socket);
  probe->socket.Reset();
  // The container was stopped, paused or started again meanwhile.
  if (!IsCurrent(probe->container, probe->number)) return;
  ProbeResult result{probe->start, WallClock::now(), exit_code, output};
  engine_.workers().Run([this, probe, result] {
    engine_.TakeProbe(probe->container, result);
    if (!probe->exec.empty()) execs_.Forget(probe->exec);
    loop_.Post([this, probe] { Plan(probe->container, probe->number); });
  });
}

void Engine::TakeProbe(const std::string& id, const ProbeResult& result) {
  ++probes_;
  if (result.exit_code != 0) ++failed_probes_;
  auto container = FindById(id);
  if (!container) return;
  bool changed = false;
  container->Update([&](ContainerRecord& record) {
    ContainerState& state = record.state;
    if (state.phase != Phase::kRunning || !state.health || !record.config.healthcheck) return;
    HealthStatus before = state.health->status;
    state.health =
        HealthAfter(*std::move(state.health), *record.config.healthcheck, state.started_at, result);
    changed = state.health->status != before;
  });
  // The results themselves are not worth a commit each: after a crash the log begins at the last
  // change.
  if (!changed) return;
  Container::RecordPointer record = container->record();
  if (!record->state.health) return;
  Event event = ContainerEvent(
      fmt::format("health_status: {}", HealthStatusName(record->state.health->status)), *record);
  Result<> saved = Save(*container, &event);
  if (!saved.ok()) log::Failure("container {}: {}", id, saved.error().message());
  Publish(std::move(event));
}

}  // namespace gantry::engine
