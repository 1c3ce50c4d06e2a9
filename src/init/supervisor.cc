// SPDX-License-Identifier: Apache-2.0
#include "init/supervisor.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace gantry::init {
namespace {

constexpr int kNotFound = 127;
constexpr int kNotExecutable = 126;

// Faults of our own must end us, and the terminal's stop signals must not be queued.
constexpr int kNotBlocked[] = {SIGFPE,  SIGILL, SIGSEGV, SIGBUS, SIGABRT,
                               SIGTRAP, SIGSYS, SIGTTIN, SIGTTOU};

struct SignalState {
  sigset_t inherited_mask;
  sigset_t waited;
  struct sigaction inherited_ttin;
  struct sigaction inherited_ttou;
};

bool TakeSignals(SignalState* state) {
  sigfillset(&state->waited);
  for (int number : kNotBlocked) sigdelset(&state->waited, number);
  struct sigaction ignore{};
  ignore.sa_handler = SIG_IGN;
  // Giving the terminal to the child's group would stop us otherwise.
  return ::sigprocmask(SIG_SETMASK, &state->waited, &state->inherited_mask) == 0 &&
         ::sigaction(SIGTTIN, &ignore, &state->inherited_ttin) == 0 &&
         ::sigaction(SIGTTOU, &ignore, &state->inherited_ttou) == 0;
}

// In the child: a group of its own, the terminal's foreground if there is a terminal, our signal
// state undone, then the program.
[[noreturn]] void RunProgram(const SignalState& state, char** command) {
  if (::setpgid(0, 0) < 0) std::perror("gantry-init: making a process group");
  if (::tcsetpgrp(STDIN_FILENO, ::getpgrp()) < 0 && errno != ENOTTY && errno != ENXIO &&
      errno != EBADF) {
    std::perror("gantry-init: giving the terminal to the program");
  }
  ::sigaction(SIGTTIN, &state.inherited_ttin, nullptr);
  ::sigaction(SIGTTOU, &state.inherited_ttou, nullptr);
  ::sigprocmask(SIG_SETMASK, &state.inherited_mask, nullptr);
  ::execvp(command[0], command);
  int error = errno;
  ::dprintf(STDERR_FILENO, "gantry-init: executing '%s': %s\n", command[0], strerrordesc_np(error));
  ::_exit(error == ENOENT ? kNotFound : kNotExecutable);
}

int ExitCodeOf(int status, const Options& options) {
  int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return options.success_codes.test(static_cast<size_t>(code) & 255) ? 0 : code;
}

// Reaps all that have ended; true when the program is among them.
bool Reap(pid_t program, const Options& options, int* code) {
  bool ended = false;
  for (;;) {
    int status = 0;
    pid_t pid = ::waitpid(-1, &status, WNOHANG);
    if (pid < 0 && errno == EINTR) continue;
    if (pid <= 0) return ended;
    if (pid == program) {
      ended = true;
      *code = ExitCodeOf(status, options);
    } else if (options.warn) {
      ::dprintf(STDERR_FILENO, "gantry-init: reaped orphan %d\n", pid);
    }
  }
}

void PassSignal(int number, pid_t program, const Options& options) {
  pid_t target = options.signal_group ? -program : program;
  if (::kill(target, number) < 0 && errno != ESRCH) {
    std::perror("gantry-init: passing a signal");
  }
}

}  // namespace

int Supervise(const Options& options) {
  if (options.parent_death_signal != 0 &&
      ::prctl(PR_SET_PDEATHSIG, options.parent_death_signal) < 0) {
    std::perror("gantry-init: setting the parent death signal");
    return 1;
  }
  if (options.subreaper && ::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0) {
    std::perror("gantry-init: becoming a subreaper");
    return 1;
  }
  if (::getpid() != 1 && !options.subreaper && options.verbosity > 0) {
    ::dprintf(STDERR_FILENO,
              "gantry-init: not process 1 and not a subreaper: orphans are not reaped (-s)\n");
  }
  SignalState state{};
  if (!TakeSignals(&state)) {
    std::perror("gantry-init: taking signals");
    return 1;
  }
  pid_t program = ::fork();
  if (program < 0) {
    std::perror("gantry-init: starting the program");
    return 1;
  }
  if (program == 0) RunProgram(state, options.command);
  for (;;) {
    int number = ::sigwaitinfo(&state.waited, nullptr);
    if (number < 0) continue;  // EINTR: stopped and continued
    if (number != SIGCHLD) {
      PassSignal(number, program, options);
      continue;
    }
    int code = 0;
    if (Reap(program, options, &code)) return code;
  }
}

}  // namespace gantry::init
