// SPDX-License-Identifier: Apache-2.0
//
// gantry-containerd: options, wiring, and waiting for a signal; `fsck` checks what it keeps.
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "base/io.h"
#include "base/log.h"
#include "containerd/daemon.h"
#include "containerd/fsck.h"
#include "containerd/options.h"

namespace gantry::containerd {
namespace {

// SIGTERM and SIGINT end the daemon; containers go on.
void WaitForSignal() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  int signal = 0;
  sigwait(&set, &signal);
  log::Info("stopping on signal {}", signal);
}

// Before any thread is started, so that all of them inherit it.
void BlockSignals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  signal(SIGPIPE, SIG_IGN);
  // systemd and shells use it to say that the terminal is gone; nothing is reloaded.
  signal(SIGHUP, SIG_IGN);
}

Result<> Run(const Options& options) {
  auto daemon = TRY(Daemon::Start(options));
  log::Info("serving on '{}'", options.address);
  WaitForSignal();
  if (!daemon->Stop()) {
    log::Warning("some requests do not end, leaving them");
    // All state is safe at any moment; only waiting for these requests would have no end.
    ::_exit(0);
  }
  return {};
}

int Main(int argc, char** argv) {
  std::vector<std::string> arguments(argv + 1, argv + argc);
  if (!arguments.empty() && arguments[0] == "fsck") {
    arguments.erase(arguments.begin());
    return FsckMain(arguments);
  }
  auto options = ParseOptions(arguments);
  if (!options.ok()) {
    fprintf(stderr, "gantry-containerd: %s\n%s", options.error().message().c_str(), kUsage);
    return 2;
  }
  if (options->help) {
    fputs(kUsage, stdout);
    return 0;
  }
  if (options->version) {
    puts("gantry-containerd " GANTRY_VERSION);
    return 0;
  }
  log::Configure("gantry-containerd", options->log_level, options->log_format);
  BlockSignals();
  ::umask(0022);
  auto result = Run(*options);
  if (!result.ok()) {
    log::Failure("{}", result.error().message());
    return 1;
  }
  return 0;
}

}  // namespace
}  // namespace gantry::containerd

int main(int argc, char** argv) { return gantry::containerd::Main(argc, argv); }
