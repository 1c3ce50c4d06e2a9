// SPDX-License-Identifier: Apache-2.0
#include "build/step_container.h"

#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <future>
#include <memory>
#include <utility>

#include "base/log.h"
#include "build/attach_frames.h"
#include "engine/attach.h"
#include "wire/worker_pool.h"

namespace gantry::build {
namespace {

// How long the output and the end of a killed command may take.
constexpr std::chrono::seconds kEndBound{30};
constexpr std::chrono::milliseconds kTick{100};

}  // namespace

Result<StepContainer> StepContainer::Create(engine::Engine& engine, engine::ContainerConfig config,
                                            engine::HostConfig host, engine::BuildParent parent) {
  engine::CreateRequest request;
  request.config = std::move(config);
  request.host_config = std::move(host);
  request.build_parent = std::move(parent);
  engine::Engine::Created created = TRY(engine.CreateContainer("", std::move(request)));
  return StepContainer(engine, std::move(created.id));
}

StepContainer::~StepContainer() {
  if (id_.empty()) return;
  Result<> removed = engine_->Remove(id_, {.force = true, .volumes = true});
  if (removed.ok() || removed.error().kind() == ErrorKind::kNotFound) return;
  log::Warning("removing the container of a build step: {}", removed.error().message());
}

Result<> StepContainer::Keep() {
  TRY(engine_->KeepStepContainer(id_));
  id_.clear();
  return {};
}

void StepContainer::RemoveLater() {
  auto kept = std::make_shared<StepContainer>(std::move(*this));
  engine_->workers().Run([kept] {});
}

Result<> StepContainer::ShowOutput(BorrowedFd socket, const CommandOutput& output,
                                   const StopToken& stop) {
  AttachFrames frames;
  OutputText text(output);
  char buffer[65536];
  for (;;) {
    ssize_t size = ::recv(socket.get(), buffer, sizeof buffer, MSG_DONTWAIT);
    if (size > 0) {
      TRY(frames.Take({buffer, static_cast<size_t>(size)}, [&](auto stream, auto bytes) {
        return text.Take(stream == AttachFrames::kStderr, bytes);
      }));
    } else if (size == 0) {
      return {};
    } else if (errno == EAGAIN) {
      wire::WorkerPool::Blocked blocked;
      TRY(WaitFor(socket, POLLIN, std::chrono::hours(24 * 365), stop));
    } else if (errno != EINTR) {
      // The shim was killed; the end of the container tells.
      return {};
    }
  }
}

Result<StepContainer::Running> StepContainer::Start(uint8_t streams) {
  Running running;
  running.container = TRY(engine_->Find(id_));
  // Called by Start, in this thread.
  running.container->AddAttach([&](Result<std::string> path) {
    if (!path.ok()) return;
    auto connected = engine::ConnectAttachSocket(*path, streams, /*offset=*/0);
    if (connected.ok()) {
      running.streams = *std::move(connected);
    } else {
      log::Warning("output of a build step: {}", connected.error().message());
    }
  });
  auto ended = std::make_shared<std::promise<engine::WaitResult>>();
  running.end = ended->get_future();
  running.wait = running.container->Wait(
      engine::WaitCondition::kNextExit,
      [ended](const engine::WaitResult& result) { ended->set_value(result); });
  auto started = engine_->Start(id_);
  if (!started.ok()) {
    running.container->CancelWait(running.wait);
    return std::move(started).error();
  }
  return running;
}

Result<int> StepContainer::Await(Running& running, const StopToken& stop) {
  while (running.end.wait_for(kTick) != std::future_status::ready) {
    if (stop.stop_requested()) return MakeError(ErrorKind::kCancelled, "the build was cancelled");
  }
  return running.end.get().exit_code;
}

void StepContainer::KillAndAwait(Running& running) {
  Result<> killed = engine_->Kill(id_, "KILL");
  if (!killed.ok()) log::Debug("killing a build step: {}", killed.error().message());
  if (running.end.wait_for(kEndBound) != std::future_status::ready) {
    running.container->CancelWait(running.wait);
  }
}

Result<int> StepContainer::Run(const CommandOutput& output, const StopToken& stop) {
  Running running = TRY(Start(engine::kAttachStdout | engine::kAttachStderr));
  Result<> shown = running.streams.valid() ? ShowOutput(running.streams, output, stop) : Result<>();
  if (shown.ok()) {
    Result<int> code = Await(running, stop);
    if (code.ok()) return code;
    shown = std::move(code).error();
  }
  if (stop.stop_requested()) shown = MakeError(ErrorKind::kCancelled, "the build was cancelled");
  KillAndAwait(running);
  return std::move(shown).error();
}

}  // namespace gantry::build
