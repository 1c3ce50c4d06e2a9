// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantryd/keeper.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>

#include "base/clock.h"
#include "base/log.h"
#include "kernel/spawn.h"
#include "wire/socket_activation.h"

namespace gantry::gantryd {
namespace {

// A daemon that is killed sooner than this after its start is started again only after this time.
constexpr std::chrono::seconds kShortLife(1);

sigset_t KeptSignals() {
  sigset_t set;
  sigemptyset(&set);
  for (int number : {SIGTERM, SIGINT, SIGHUP, SIGCHLD}) sigaddset(&set, number);
  return set;
}

Result<kernel::SpawnedProcess> StartDaemon(const std::string& program,
                                           const std::vector<std::string>& arguments) {
  kernel::SpawnOptions options;
  options.program = program;
  options.args = {program};
  options.args.insert(options.args.end(), arguments.begin(), arguments.end());
  options.fds = {{0, 0}, {1, 1}, {2, 2}};
  // Sockets of the service manager stay open here and are the next daemon's too.
  int activated = wire::CountActivatedSockets();
  for (int number = 3; number < 3 + activated; ++number) options.fds.push_back({number, number});
  constexpr std::string_view kListenPid = "LISTEN_PID=";
  for (char** variable = environ; *variable != nullptr; ++variable) {
    std::string text = *variable;
    if (activated > 0 && text.starts_with(kListenPid)) {
      text = fmt::format("{}{}", kListenPid, wire::kInheritedListenPid);
    }
    options.env.push_back(std::move(text));
  }
  return kernel::Spawn(options);
}

// Reaps everything that has ended; the status of `pid` if it is among it.
std::optional<int> Reap(pid_t pid) {
  std::optional<int> status;
  for (;;) {
    int ended = 0;
    pid_t reaped = ::waitpid(-1, &ended, WNOHANG);
    if (reaped < 0 && errno == EINTR) continue;
    if (reaped <= 0) return status;
    if (reaped == pid) status = ended;
  }
}

// Until `daemon` has ended: its wait status.
int Watch(const kernel::SpawnedProcess& daemon) {
  sigset_t signals = KeptSignals();
  for (;;) {
    // A death before this wait has left SIGCHLD pending.
    siginfo_t info{};
    if (::sigwaitinfo(&signals, &info) < 0) continue;
    if (info.si_signo != SIGCHLD) {
      // The daemon may have ended by itself meanwhile, which the next SIGCHLD tells.
      (void)::kill(daemon.pid, info.si_signo);
    } else if (std::optional<int> status = Reap(daemon.pid)) {
      return *status;
    }
  }
}

// Waits out the rest of a short life; true when a signal to stop came.
bool StoppedWhileWaiting(SteadyClock::time_point until) {
  sigset_t signals = KeptSignals();
  for (;;) {
    auto left = std::chrono::duration_cast<std::chrono::nanoseconds>(until - SteadyClock::now());
    if (left.count() <= 0) return false;
    timespec bound{left.count() / 1'000'000'000, left.count() % 1'000'000'000};
    siginfo_t info{};
    int got = ::sigtimedwait(&signals, &info, &bound);
    if (got == SIGCHLD) Reap(-1);
    if (got == SIGTERM || got == SIGINT) return true;
  }
}

}  // namespace

Result<int> Keep(const std::string& program, const std::vector<std::string>& arguments) {
  if (::prctl(PR_SET_CHILD_SUBREAPER, 1) < 0) return ErrnoError("becoming a subreaper");
  sigset_t signals = KeptSignals();
  ::sigprocmask(SIG_BLOCK, &signals, nullptr);
  // Ended only by the daemon's own exit or by a signal.
  for (;;) {
    auto started = SteadyClock::now();
    kernel::SpawnedProcess daemon = TRY_WITH(StartDaemon(program, arguments), "starting gantryd");
    int status = Watch(daemon);
    if (WIFEXITED(status)) return WEXITSTATUS(status);
    log::Warning("gantryd was killed by signal {}; starting it again", WTERMSIG(status));
    if (StoppedWhileWaiting(started + kShortLife)) return 0;
  }
}

}  // namespace gantry::gantryd
