// SPDX-License-Identifier: Apache-2.0
//
// gantry-containerd: options, wiring, and waiting for a signal; `fsck` checks what it keeps,
// `oci-hook` is a hook of the runtime.
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>
#include <string_view>
#include <vector>

#include "base/io.h"
#include "base/log.h"
#include "base/notify.h"
#include "cmd/gantry-containerd/fsck_command.h"
#include "cmd/gantry-containerd/oci_hook_command.h"
#include "containerd/config.h"
#include "containerd/daemon.h"
#include "containerd/options.h"
#include "kernel/cgroups.h"
#include "kernel/descriptor_limit.h"

namespace gantry::containerd {
namespace {

constexpr int kUsageError = 2;

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

// A service manager that can't be told changes nothing here.
void Notify(std::string_view state) {
  auto told = NotifyServiceManager(state);
  if (!told.ok()) log::Warning("{}", told.error().message());
}

// The kernel's OOM killer takes containers first.
Result<> SetOomScore(int score) {
  if (score == 0) return {};
  return WriteFile("/proc/self/oom_score_adj", std::to_string(score));
}

Result<> Run(const Options& options) {
  for (const std::string& warning : options.warnings) log::Warning("{}", warning);
  // A container takes three.
  TRY(kernel::RaiseDescriptorLimit());
  TRY_WITH(SetOomScore(options.oom_score), "setting oom_score {}", options.oom_score);
  if (!options.cgroup.empty()) {
    TRY(kernel::JoinCgroup(options.cgroup, kernel::MissingCgroup::kMake));
  }
  auto daemon = TRY(Daemon::Start(options));
  log::Info("serving on '{}'", options.address);
  Notify("READY=1\nSTATUS=serving");
  WaitForSignal();
  Notify("STOPPING=1");
  if (!daemon->Stop()) {
    log::Warning("some requests do not end, leaving them");
    // All state is safe at any moment; only waiting for these requests would have no end.
    ::_exit(0);
  }
  return {};
}

int Main(int argc, char** argv) {
  // Neither flags nor a configuration say anything to a hook.
  if (argc > 1 && std::string_view(argv[1]) == "oci-hook") {
    Error error = RunOciHook(std::vector<std::string>(argv + 2, argv + argc));
    fprintf(stderr, "gantry-containerd: %s\n", error.message().c_str());
    return 1;
  }
  auto options = ParseOptions(std::vector<std::string>(argv + 1, argv + argc));
  if (!options.ok()) {
    fprintf(stderr, "gantry-containerd: %s (see --help)\n", options.error().message().c_str());
    return kUsageError;
  }
  if (options->help) {
    fputs(kUsage, stdout);
    return 0;
  }
  if (options->version) {
    puts("gantry-containerd " GANTRY_VERSION);
    return 0;
  }
  if (options->command == Command::kFsck) return RunFsck(*options);
  if (options->command != Command::kServe) {
    for (const std::string& warning : options->warnings) {
      fprintf(stderr, "gantry-containerd: %s\n", warning.c_str());
    }
    fputs(DumpConfig(*options).c_str(), stdout);
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
