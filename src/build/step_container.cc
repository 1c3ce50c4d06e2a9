// SPDX-License-Identifier: Apache-2.0
#include "build/step_container.h"

#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <future>
#include <memory>
#include <utility>

#include "base/log.h"
#include "base/text.h"
#include "engine/attach.h"
#include "wire/worker_pool.h"

namespace gantry::build {
namespace {

constexpr size_t kFrameHeader = 8;
constexpr char kStderr = 2;
// How long the output and the end of a killed command may take.
constexpr std::chrono::seconds kEndBound{30};
constexpr std::chrono::milliseconds kTick{100};

// The length of `text` without a character of which only a part has come.
size_t WholeCharacters(std::string_view text) {
  for (size_t back = 1; back <= 3 && back <= text.size(); ++back) {
    auto byte = static_cast<unsigned char>(text[text.size() - back]);
    if (byte < 0x80) break;
    if (byte < 0xc0) continue;
    size_t wants = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2;
    return wants > back ? text.size() - back : text.size();
  }
  return text.size();
}

// Frames of the attach protocol (docs/shim-io.md) to text of whole characters.
class FrameText {
 public:
  Result<> Take(std::string_view data, const CommandOutput& output) {
    pending_ += data;
    while (pending_.size() >= kFrameHeader) {
      uint32_t size = 0;
      for (int i = 4; i < 8; ++i) size = size << 8 | static_cast<unsigned char>(pending_[i]);
      if (pending_.size() < kFrameHeader + size) break;
      bool is_error = pending_[0] == kStderr;
      std::string& rest = is_error ? error_rest_ : out_rest_;
      std::string text = std::exchange(rest, {}) + pending_.substr(kFrameHeader, size);
      size_t whole = WholeCharacters(text);
      rest = text.substr(whole);
      text.resize(whole);
      pending_.erase(0, kFrameHeader + size);
      if (!text.empty()) TRY(output(is_error, text));
    }
    return {};
  }

 private:
  std::string pending_;
  std::string out_rest_;
  std::string error_rest_;
};

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
  FrameText frames;
  char buffer[65536];
  for (;;) {
    ssize_t size = ::recv(socket.get(), buffer, sizeof buffer, MSG_DONTWAIT);
    if (size > 0) {
      TRY(frames.Take({buffer, static_cast<size_t>(size)}, output));
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

Result<int> StepContainer::Run(const CommandOutput& output, const StopToken& stop) {
  auto container = TRY(engine_->Find(id_));
  UniqueFd socket;
  // Called by Start, in this thread.
  container->AddAttach([&](Result<std::string> path) {
    if (!path.ok()) return;
    auto connected = engine::ConnectAttachSocket(
        *path, engine::kAttachStdout | engine::kAttachStderr, /*offset=*/0);
    if (connected.ok()) {
      socket = *std::move(connected);
    } else {
      log::Warning("output of a build step: {}", connected.error().message());
    }
  });
  auto ended = std::make_shared<std::promise<engine::WaitResult>>();
  auto end = ended->get_future();
  uint64_t wait = container->Wait(engine::WaitCondition::kNextExit,
                                  [ended](const engine::WaitResult& r) { ended->set_value(r); });
  auto started = engine_->Start(id_);
  if (!started.ok()) {
    container->CancelWait(wait);
    return std::move(started).error();
  }
  Result<> shown = socket.valid() ? ShowOutput(socket, output, stop) : Result<>();
  while (shown.ok() && end.wait_for(kTick) != std::future_status::ready) {
    if (stop.stop_requested()) shown = MakeError(ErrorKind::kCancelled, "the build was cancelled");
  }
  if (shown.ok()) return end.get().exit_code;
  if (stop.stop_requested()) shown = MakeError(ErrorKind::kCancelled, "the build was cancelled");
  Result<> killed = engine_->Kill(id_, "KILL");
  if (!killed.ok()) log::Debug("killing a build step: {}", killed.error().message());
  if (end.wait_for(kEndBound) != std::future_status::ready) container->CancelWait(wait);
  return std::move(shown).error();
}

}  // namespace gantry::build
