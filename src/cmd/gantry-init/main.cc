// SPDX-License-Identifier: Apache-2.0
//
// PID 1 of containers that ask for one (--init); understands tini's command line.
#include <cstdio>

#include "init/options.h"
#include "init/supervisor.h"

namespace {

// dockerd reads "tini version X - git.HASH"; the version is that of the command line we follow.
constexpr char kVersion[] = "tini version 0.19.0 - gantry-init " GANTRY_VERSION;

constexpr char kHelp[] =
    "Usage: gantry-init [OPTIONS] PROGRAM [ARGS]\n"
    "       gantry-init [OPTIONS] -- PROGRAM [ARGS]\n"
    "       gantry-init --version\n\n"
    "Runs PROGRAM, passes signals to it, reaps orphans, ends as it ended.\n\n"
    "  -g         pass signals to PROGRAM's process group\n"
    "  -s         be a subreaper, when not process 1\n"
    "  -e CODE    exit code that counts as 0 (repeatable)\n"
    "  -p SIGNAL  get this signal when the parent ends, such as SIGTERM\n"
    "  -w         tell which orphans were reaped\n"
    "  -v         tell more\n"
    "  -h         this text";

}  // namespace

int main(int argc, char** argv) {
  gantry::Result<gantry::init::Options> options = gantry::init::ParseOptions(argc, argv);
  if (!options.ok()) {
    std::fprintf(stderr, "gantry-init: %s\n%s\n", options.error().message().c_str(), kHelp);
    return 1;
  }
  switch (options->mode) {
    case gantry::init::Mode::kVersion:
      std::puts(kVersion);
      return 0;
    case gantry::init::Mode::kHelp:
      std::puts(kHelp);
      return 0;
    case gantry::init::Mode::kRun:
      return gantry::init::Supervise(*options);
  }
}
