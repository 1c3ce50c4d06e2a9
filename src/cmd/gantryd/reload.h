// SPDX-License-Identifier: Apache-2.0
//
// SIGHUP: daemon.json is read again, with the same command line. What a running daemon can take
// over holds for the next request; what waits for a restart is named in the log; a file that is
// wrong changes nothing. One thread, main's.
#pragma once

#include <string>
#include <vector>

#include "cmd/gantryd/options.h"
#include "engine/engine.h"

namespace gantry::gantryd {

// Before the engine: files for other programs, from the options just read.
Result<> PrepareSettings(Options* options);

class Reloader {
 public:
  Reloader(engine::Engine& engine, std::string engine_id, std::vector<std::string> arguments,
           Options present)
      : engine_(engine),
        engine_id_(std::move(engine_id)),
        arguments_(std::move(arguments)),
        present_(std::move(present)) {}

  void Reload();

 private:
  Result<> Apply();
  void PublishReload(const engine::Settings& settings);

  engine::Engine& engine_;
  const std::string engine_id_;
  const std::vector<std::string> arguments_;
  Options present_;
};

}  // namespace gantry::gantryd
