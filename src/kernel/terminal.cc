// SPDX-License-Identifier: Apache-2.0
#include "kernel/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>

namespace gantry::kernel {

bool IsTerminal(BorrowedFd fd) { return ::isatty(fd.get()) == 1; }

WindowSize TerminalSize(BorrowedFd fd) {
  winsize size{};
  if (::ioctl(fd.get(), TIOCGWINSZ, &size) < 0) return {};
  return {size.ws_row, size.ws_col};
}

Result<RawTerminal> RawTerminal::Enter(BorrowedFd fd) {
  termios before{};
  if (::tcgetattr(fd.get(), &before) < 0) return ErrnoError("reading the terminal's settings");
  termios raw = before;
  ::cfmakeraw(&raw);
  raw.c_cc[VMIN] = 1;
  raw.c_cc[VTIME] = 0;
  if (::tcsetattr(fd.get(), TCSANOW, &raw) < 0) return ErrnoError("setting the terminal raw");
  return RawTerminal(fd, before);
}

RawTerminal& RawTerminal::operator=(RawTerminal&& other) noexcept {
  if (this != &other) {
    Restore();
    fd_ = std::exchange(other.fd_, BorrowedFd());
    before_ = other.before_;
  }
  return *this;
}

void RawTerminal::Restore() {
  // The terminal may be gone by now; then there is nothing to restore.
  if (fd_.valid()) ::tcsetattr(fd_.get(), TCSANOW, &before_);
  fd_ = BorrowedFd();
}

}  // namespace gantry::kernel
