// SPDX-License-Identifier: Apache-2.0
#include "kernel/spawn.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include "base/io.h"

namespace gantry::kernel {
namespace {

std::string Output(SpawnOptions options) {
  int ends[2];
  CHECK(::pipe2(ends, O_CLOEXEC) == 0);
  UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  options.fds.push_back({writer.get(), 1});
  Result<SpawnedProcess> process = Spawn(options);
  writer.Reset();
  if (!process.ok()) return process.error().message();
  std::string text = *ReadToEnd(reader, 1 << 20);
  EXPECT_EQ(WaitExit(process->pidfd)->code, 0);
  return text;
}

SpawnOptions Shell(const std::string& script) {
  return {.program = "/bin/sh", .args = {"sh", "-c", script}, .env = {"PATH=/usr/bin:/bin"}};
}

TEST(Spawn, OnlyMappedDescriptorsArrive) {
  int leaked = ::open("/etc/passwd", O_RDONLY);                  // without close-on-exec
  EXPECT_EQ(Output(Shell("ls /proc/self/fd")), "0\n1\n2\n3\n");  // 3 is ls's own directory
  ::close(leaked);
}

TEST(Spawn, DescriptorsMaySwap) {
  int first[2];
  int second[2];
  ASSERT_EQ(::pipe2(first, O_CLOEXEC), 0);
  ASSERT_EQ(::pipe2(second, O_CLOEXEC), 0);
  SpawnOptions options = Shell("echo one >&7; echo two >&8");
  ASSERT_EQ(::dup3(first[1], 207, O_CLOEXEC), 207);
  options.fds = {{first[1], 8}, {second[1], 7}, {207, first[0]}};
  ASSERT_EQ(SpawnAndWait(options)->code, 0);
  for (int fd : {first[1], second[1], 207}) ::close(fd);
  EXPECT_EQ(*ReadToEnd(UniqueFd(first[0]), 100), "two\n");
  EXPECT_EQ(*ReadToEnd(UniqueFd(second[0]), 100), "one\n");
}

TEST(Spawn, ProgramOfADescriptor) {
  UniqueFd file(::open("/bin/sh", O_RDONLY | O_CLOEXEC));
  UniqueFd shell(::fcntl(file.get(), F_DUPFD_CLOEXEC, 50));
  SpawnOptions options = Shell("echo ran; ls /proc/self/fd");
  options.program = "not looked at";
  options.program_file = shell;
  // A number that one of its own descriptors gets must not matter.
  UniqueFd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  options.fds = {{null.get(), shell.get()}};
  EXPECT_EQ(Output(options), fmt::format("ran\n0\n1\n2\n3\n{}\n", shell.get()));
}

TEST(Spawn, EnvironmentAndDirectory) {
  SpawnOptions options = Shell("echo $A; pwd; test $$ = $(ps -o sid= -p $$) && echo leader");
  options.env.push_back("A=b");
  options.cwd = "/usr";
  options.group = ProcessGroup::kNewSession;
  EXPECT_EQ(Output(options), "b\n/usr\nleader\n");
}

TEST(Spawn, FailureNamesTheStep) {
  Result<SpawnedProcess> process = Spawn({.program = "/nonexistent", .args = {"x"}});
  ASSERT_FALSE(process.ok());
  EXPECT_EQ(process.error().kind(), ErrorKind::kNotFound);
  EXPECT_NE(process.error().message().find("starting '/nonexistent': executing"),
            std::string::npos);
}

TEST(Spawn, ExitBySignalAndCode) {
  EXPECT_EQ(SpawnAndWait(Shell("exit 7"))->ShellCode(), 7);
  Result<SpawnedProcess> process = Spawn(Shell("exec sleep 100"));
  ASSERT_TRUE(process.ok());
  EXPECT_FALSE(PollExit(process->pidfd)->has_value());
  ::kill(process->pid, SIGTERM);
  EXPECT_EQ(WaitExit(process->pidfd)->ShellCode(), 143);
}

TEST(Spawn, SignalsAreReset) {
  ::signal(SIGPIPE, SIG_IGN);
  sigset_t blocked;
  ::sigemptyset(&blocked);
  ::sigaddset(&blocked, SIGUSR1);
  ::sigprocmask(SIG_BLOCK, &blocked, nullptr);
  SpawnOptions options = {.program = "/bin/grep",
                          .args = {"grep", "-E", "SigBlk|SigIgn", "/proc/self/status"}};
  EXPECT_EQ(Output(options), "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
  ::sigprocmask(SIG_UNBLOCK, &blocked, nullptr);
  ::signal(SIGPIPE, SIG_DFL);
}

}  // namespace
}  // namespace gantry::kernel
