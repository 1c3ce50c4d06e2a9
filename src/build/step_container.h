// SPDX-License-Identifier: Apache-2.0
//
// The container that a RUN runs in: one like every other, but for a record that says whose it is:
// no start of the engine keeps it. One thread.
#pragma once

#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/stop_token.h"
#include "engine/config.h"
#include "engine/container.h"
#include "engine/engine.h"

namespace gantry::build {

using CommandOutput = std::function<Result<>(bool to_stderr, std::string_view text)>;

class StepContainer {
 public:
  static Result<StepContainer> Create(engine::Engine& engine, engine::ContainerConfig config,
                                      engine::HostConfig host, engine::BuildParent parent);
  StepContainer(StepContainer&& other) noexcept
      : engine_(other.engine_), id_(std::exchange(other.id_, {})) {}
  StepContainer& operator=(StepContainer&&) = delete;
  // Removed with the object, whatever state it is in.
  ~StepContainer();

  const std::string& id() const { return id_; }
  // To its end; the exit code. A stop kills it and is kCancelled.
  Result<int> Run(const CommandOutput& output, const StopToken& stop);

  // Run in parts, for callers that have a use of their own for its streams.
  struct Running {
    UniqueFd streams;  // frames of the attach protocol (docs/shim-io.md); invalid: there are none
    std::future<engine::WaitResult> end;
    std::shared_ptr<engine::Container> container;
    uint64_t wait = 0;
  };
  // `streams`: of engine/attach.h.
  Result<Running> Start(uint8_t streams);
  // The exit code. A stop is kCancelled, and leaves it running.
  static Result<int> Await(Running& running, const StopToken& stop);
  // Returns when it has ended, or does not within half a minute.
  void KillAndAwait(Running& running);
  // It is the user's from now on.
  Result<> Keep();
  // Its writable snapshot is somebody else's by now; removes the rest beside the caller.
  void RemoveLater();

 private:
  StepContainer(engine::Engine& engine, std::string id) : engine_(&engine), id_(std::move(id)) {}
  static Result<> ShowOutput(BorrowedFd socket, const CommandOutput& output, const StopToken& stop);

  engine::Engine* engine_;
  std::string id_;
};

}  // namespace gantry::build
