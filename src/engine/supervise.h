// SPDX-License-Identifier: Apache-2.0
//
// Keeps gantry-containerd running: adopts the one that has the pid file, else starts one; starts it
// again when it dies. It outlives this process. The callbacks run on the given loop.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/event_loop.h"
#include "base/unique_fd.h"

namespace gantry::engine {

struct SupervisedDaemon {
  std::string program;
  std::vector<std::string> arguments;  // after the program's name
  std::string pid_file;                // locked by the living daemon (flock(2))
};

class Supervisor {
 public:
  // Returns when the daemon is adopted or started, not when it answers. `loop` outlives it.
  static Result<std::unique_ptr<Supervisor>> Start(EventLoop& loop, SupervisedDaemon daemon);
  // Stops watching; the daemon goes on.
  ~Supervisor();

 private:
  Supervisor(EventLoop& loop, SupervisedDaemon daemon) : loop_(loop), daemon_(std::move(daemon)) {}
  // True when a living owner of the pid file was found.
  Result<bool> Adopt();
  Result<> Spawn();
  // In the loop's thread.
  void Watch();
  void OnExit();
  void StartAgain();

  EventLoop& loop_;
  const SupervisedDaemon daemon_;
  UniqueFd pidfd_;
  bool is_child_ = false;
  SteadyClock::time_point started_;
};

}  // namespace gantry::engine
