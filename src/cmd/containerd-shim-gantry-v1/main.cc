// SPDX-License-Identifier: Apache-2.0
//
// The shim: one process a container, started by gantry-containerd or any containerd.
#include <unistd.h>

#include <cstdio>
#include <string>
#include <vector>

#include "base/log.h"
#include "shim/actions.h"
#include "shim/arguments.h"
#include "shim/server.h"

namespace gantry::shim {
namespace {

// By hand: serves in the foreground until a client shuts it down.
Result<> ServeHere(const Arguments& arguments) {
  if (!arguments.bundle.empty() && ::chdir(arguments.bundle.c_str()) < 0) {
    return ErrnoError("going to bundle '{}'", arguments.bundle);
  }
  std::string path = SocketPath(arguments, "");
  UniqueFd listener = TRY(ListenAt(path));
  log::Info("serving on unix://{}", path);
  return Serve(arguments, ServedFor::kPerson, std::move(listener), path);
}

Result<> Run(const std::vector<std::string>& args, char** argv) {
  Arguments arguments = TRY(ParseArguments(args));
  log::Configure("containerd-shim-gantry-v1",
                 arguments.debug ? log::Level::kDebug : log::Level::kInfo, log::Format::kText);
  switch (arguments.action) {
    case Action::kStart:
      return RunStart(arguments, argv);
    case Action::kDelete:
      return RunDelete(arguments);
    case Action::kInfo:
      return RunInfo();
    case Action::kVersion:
      std::puts("containerd-shim-gantry-v1:\n  Version:  " GANTRY_VERSION);
      return {};
    case Action::kServe:
      return ServeHere(arguments);
  }
  return {};
}

}  // namespace
}  // namespace gantry::shim

int main(int argc, char** argv) {
  std::vector<std::string> args(argv, argv + argc);
  gantry::Result<> done = gantry::shim::Run(args, argv);
  if (done.ok()) return 0;
  std::fprintf(stderr, "containerd-shim-gantry-v1: %s\n", done.error().message().c_str());
  return 1;
}
