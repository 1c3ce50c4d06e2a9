// SPDX-License-Identifier: Apache-2.0
#include "kernel/terminal.h"

#include <gtest/gtest.h>
#include <pty.h>

namespace gantry::kernel {
namespace {

tcflag_t LocalFlags(const UniqueFd& fd) {
  termios settings{};
  ::tcgetattr(fd.get(), &settings);
  return settings.c_lflag;
}

TEST(Terminal, RawUntilDestroyedAndMoved) {
  int master = -1;
  int slave = -1;
  winsize size{24, 80, 0, 0};
  ASSERT_EQ(::openpty(&master, &slave, nullptr, nullptr, &size), 0);
  UniqueFd owner(master);
  UniqueFd terminal(slave);
  EXPECT_TRUE(IsTerminal(terminal));
  EXPECT_EQ(TerminalSize(terminal), (WindowSize{24, 80}));
  tcflag_t before = LocalFlags(terminal);
  {
    Result<RawTerminal> raw = RawTerminal::Enter(terminal);
    ASSERT_TRUE(raw.ok());
    EXPECT_EQ(LocalFlags(terminal) & (ECHO | ICANON | ISIG), 0u);
    RawTerminal moved = std::move(*raw);
    RawTerminal& self = moved;
    moved = std::move(self);
    EXPECT_EQ(LocalFlags(terminal) & ECHO, 0u);
  }
  EXPECT_EQ(LocalFlags(terminal), before);
}

TEST(Terminal, NoTerminal) {
  int fds[2];
  ASSERT_EQ(::pipe(fds), 0);
  UniqueFd a(fds[0]);
  UniqueFd b(fds[1]);
  EXPECT_FALSE(IsTerminal(a));
  EXPECT_EQ(TerminalSize(a), WindowSize{});
  EXPECT_FALSE(RawTerminal::Enter(a).ok());
}

}  // namespace
}  // namespace gantry::kernel
