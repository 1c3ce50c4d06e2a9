// SPDX-License-Identifier: Apache-2.0
//
// The container that a RUN runs in: one like every other, but for a record that says whose it is:
// no start of the engine keeps it. One thread.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/stop_token.h"
#include "engine/config.h"
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
  // It is the user's from now on.
  Result<> Keep();
  // Its writable snapshot is somebody else's by now; removes the rest beside the caller.
  void RemoveLater();

 private:
  StepContainer(engine::Engine& engine, std::string id) : engine_(&engine), id_(std::move(id)) {}
  Result<> ShowOutput(BorrowedFd socket, const CommandOutput& output, const StopToken& stop);

  engine::Engine* engine_;
  std::string id_;
};

}  // namespace gantry::build
