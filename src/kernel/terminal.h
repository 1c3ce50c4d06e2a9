// SPDX-License-Identifier: Apache-2.0
//
// The user's terminal: raw mode for as long as an object lives, and the window's size. One thread.
#pragma once

#include <termios.h>

#include <cstdint>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/unique_fd.h"

namespace gantry::kernel {

struct WindowSize {
  uint16_t rows = 0;
  uint16_t columns = 0;
  bool operator==(const WindowSize&) const = default;
};

bool IsTerminal(BorrowedFd fd);
// {0, 0} when `fd` is no terminal.
WindowSize TerminalSize(BorrowedFd fd);

// Puts a terminal into raw mode (no echo, no line editing, no signals from keys) and back when
// destroyed. The descriptor outlives it.
class RawTerminal {
 public:
  static Result<RawTerminal> Enter(BorrowedFd fd);
  RawTerminal(RawTerminal&& other) noexcept
      : fd_(std::exchange(other.fd_, BorrowedFd())), before_(other.before_) {}
  RawTerminal& operator=(RawTerminal&& other) noexcept;
  RawTerminal(const RawTerminal&) = delete;
  RawTerminal& operator=(const RawTerminal&) = delete;
  ~RawTerminal() { Restore(); }

  void Restore();

 private:
  RawTerminal(BorrowedFd fd, const termios& before) : fd_(fd), before_(before) {}

  BorrowedFd fd_;
  termios before_;
};

}  // namespace gantry::kernel
