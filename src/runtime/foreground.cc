// SPDX-License-Identifier: Apache-2.0
#include "runtime/foreground.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#include "base/io.h"
#include "kernel/pidfd.h"
#include "kernel/spawn.h"

namespace gantry::runtime {
namespace {

// Puts our own terminal into raw mode, and back.
class RawTerminal {
 public:
  RawTerminal() {
    if (::tcgetattr(STDIN_FILENO, &before_) < 0) return;
    termios raw = before_;
    ::cfmakeraw(&raw);
    active_ = ::tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
  }
  ~RawTerminal() {
    if (active_) ::tcsetattr(STDIN_FILENO, TCSANOW, &before_);
  }
  RawTerminal(const RawTerminal&) = delete;
  RawTerminal& operator=(const RawTerminal&) = delete;

 private:
  termios before_{};
  bool active_ = false;
};

void CopySize(BorrowedFd terminal) {
  winsize size{};
  if (::ioctl(STDIN_FILENO, TIOCGWINSZ, &size) == 0) {
    ::ioctl(terminal.get(), TIOCSWINSZ, &size);
  }
}

// One chunk; false at the end.
bool Relay(int from, int to) {
  char buffer[16 * 1024];
  ssize_t got = ::read(from, buffer, sizeof buffer);
  if (got < 0) return errno == EINTR || errno == EAGAIN;
  if (got == 0) return false;
  return WriteAll(BorrowedFd(to), std::string_view(buffer, static_cast<size_t>(got))).ok();
}

}  // namespace

Result<SignalForwarder> SignalForwarder::Create() {
  sigset_t all;
  ::sigfillset(&all);
  // Ours to die of, and the stops of our own terminal's job control.
  for (int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTTIN, SIGTTOU, SIGPIPE}) {
    ::sigdelset(&all, signal);
  }
  if (::sigprocmask(SIG_BLOCK, &all, nullptr) < 0) return ErrnoError("blocking signals");
  UniqueFd signals(::signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals.valid()) return ErrnoError("making a signal descriptor");
  return SignalForwarder(std::move(signals));
}

Result<bool> SignalForwarder::Forward(BorrowedFd pidfd, BorrowedFd terminal) {
  bool ended = false;
  signalfd_siginfo info;
  while (::read(signals_.get(), &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
    int signal = static_cast<int>(info.ssi_signo);
    if (signal == SIGCHLD) {
      ended = true;
    } else if (signal == SIGWINCH && terminal.valid()) {
      CopySize(terminal);
    } else {
      Result<> sent = kernel::SendSignal(pidfd, signal);
      if (!sent.ok() && sent.error().kind() != ErrorKind::kNotFound) {
        return std::move(sent).error();
      }
    }
  }
  return ended;
}

Result<int> SignalForwarder::Follow(BorrowedFd pidfd, UniqueFd terminal) {
  std::optional<RawTerminal> raw;
  if (terminal.valid()) {
    CopySize(terminal);
    raw.emplace();
  }
  bool input = terminal.valid();
  bool output = terminal.valid();
  std::optional<kernel::ExitStatus> status;
  while (!status || output) {
    pollfd waits[] = {{signals_.get(), POLLIN, 0},
                      {status ? -1 : pidfd.get(), POLLIN, 0},
                      {output ? terminal.get() : -1, POLLIN, 0},
                      {input && !status ? STDIN_FILENO : -1, POLLIN, 0}};
    if (::poll(waits, 4, -1) < 0 && errno != EINTR) return ErrnoError("waiting");
    if (waits[0].revents != 0) TRY(Forward(pidfd, terminal));
    if (waits[2].revents != 0) output = Relay(terminal.get(), STDOUT_FILENO);
    if (waits[3].revents != 0) input = Relay(STDIN_FILENO, terminal.get());
    if (waits[1].revents != 0) status = TRY(kernel::PollExit(pidfd));
    // What a grandchild keeps open on the terminal does not hold us back.
    if (status && output) {
      pollfd rest{terminal.get(), POLLIN, 0};
      if (::poll(&rest, 1, 0) <= 0) break;
    }
  }
  return status->ShellCode();
}

}  // namespace gantry::runtime
