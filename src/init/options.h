// SPDX-License-Identifier: Apache-2.0
//
// The command line of gantry-init, tini's: [OPTIONS] PROGRAM -- ARGS, or OPTIONS -- PROGRAM ARGS,
// and the environment variables TINI_SUBREAPER, TINI_KILL_PROCESS_GROUP, TINI_VERBOSITY. Pure apart
// from reading the environment.
#pragma once

#include <bitset>

#include "base/error.h"

namespace gantry::init {

enum class Mode { kRun, kVersion, kHelp };

struct Options {
  Mode mode = Mode::kRun;
  char** command = nullptr;        // with a null at its end
  bool subreaper = false;          // -s
  bool signal_group = false;       // -g: signals go to the child's process group
  bool warn = false;               // -w: tells what it reaps
  int verbosity = 1;               // -v
  int parent_death_signal = 0;     // -p
  std::bitset<256> success_codes;  // -e: exit codes that count as 0
};

Result<Options> ParseOptions(int argc, char** argv);

}  // namespace gantry::init
