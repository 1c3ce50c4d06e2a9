// SPDX-License-Identifier: Apache-2.0
//
// One process of the container, the init or an exec, as the task service knows it. Plain state;
// shim/container moves it.
#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/event_loop.h"
#include "base/unique_fd.h"
#include "shim/process_io.h"
#include "shim/reaper.h"

namespace gantry::shim {

// Legal: kAdded -> kStarting (exec), kCreated -> kStarting (init), kStarting -> kRunning or back,
// kRunning <-> kPaused, any with a pid -> kStopped -> kDeleting.
enum class ProcessState { kAdded, kCreated, kStarting, kRunning, kPaused, kStopped, kDeleting };

// The word for a state in messages.
std::string_view StateWord(ProcessState state);

struct Process {
  std::string exec_id;  // empty: the init
  ProcessState state = ProcessState::kAdded;
  pid_t pid = 0;
  IoRequest io_request;
  std::unique_ptr<ProcessIo> io;
  UniqueFd terminal;  // to set its size
  uint16_t rows = 0;  // asked for before there was a terminal
  uint16_t columns = 0;
  std::string spec;  // exec: the process object, JSON

  // What the kernel said; told to others once the start is.
  std::optional<ProcessExit> exit;
  uint32_t exit_code = 0;
  WallTime exited_at{};
  // Ends the copying of what grandchildren still write; it must not outlive the process's record,
  // or many short execs hold memory.
  std::optional<EventLoop::TimerId> output_timer;
  // Waiting calls; run when the exit is published.
  std::vector<std::function<void()>> waiters;

  bool is_init() const { return exec_id.empty(); }
  bool stopped() const {
    return state == ProcessState::kStopped || state == ProcessState::kDeleting;
  }
};

}  // namespace gantry::shim
