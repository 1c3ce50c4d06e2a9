// SPDX-License-Identifier: Apache-2.0
//
// The daemon as one object: opens the stores, adopts what runs, serves. Called by main.
#pragma once

#include <memory>

#include "base/error.h"
#include "containerd/options.h"

namespace gantry::containerd {

class Daemon {
 public:
  // Serves when it returns.
  static Result<std::unique_ptr<Daemon>> Start(const Options& options);
  ~Daemon();
  // Ends the service; tasks and their shims go on. False: some requests do not end, and the caller
  // must leave without destroying the daemon.
  bool Stop();

 private:
  struct State;
  explicit Daemon(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace gantry::containerd
