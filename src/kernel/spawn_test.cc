// SPDX-License-Identifier: Apache-2.0
#include "kernel/spawn.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"

namespace gantry::kernel {
namespace {

std::string Output(const SpawnOptions& options) {
  Result<ProgramOutput> output = SpawnAndRead(options, Captured::kOutput, 1 << 20);
  if (!output.ok()) return output.error().message();
  EXPECT_EQ(output->status.code, 0);
  return output->text;
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

TEST(Spawn, OutputWithErrorsAndItsBound) {
  Result<ProgramOutput> output =
      SpawnAndRead(Shell("echo out; echo err >&2; exit 3"), Captured::kOutputAndErrors, 100);
  ASSERT_TRUE(output.ok()) << output.error().message();
  EXPECT_EQ(output->text, "out\nerr\n");
  EXPECT_EQ(output->status.code, 3);
  // It never ends by itself, and is reaped.
  output = SpawnAndRead(Shell("yes"), Captured::kOutput, 1000);
  ASSERT_FALSE(output.ok());
  EXPECT_NE(output.error().message().find("output of '/bin/sh'"), std::string::npos);
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1);
}

// As below the filters of other engines.
bool ForbidClone3() {
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  sock_fprog filter{4, program};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

TEST(Spawn, WorksWithoutClone3) {
  pid_t child = ::fork();
  if (child == 0) {
    ::signal(SIGUSR2, SIG_IGN);
    bool works = ForbidClone3() && ::syscall(SYS_clone3, nullptr, 0) == -1 && errno == ENOSYS;
    SpawnOptions options = {.program = "/bin/grep",
                            .args = {"grep", "-E", "SigBlk|SigIgn", "/proc/self/status"}};
    works = works && Output(options) == "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n";
    ::_exit(works ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST(FindInPath, OnlyAbsoluteDirectories) {
  std::string before = ::getenv("PATH");
  ::setenv("PATH", ".:bin::/nonexistent:/bin", 1);
  EXPECT_EQ(FindInPath("sh").value(), "/bin/sh");
  EXPECT_EQ(FindInPath("no-such-program").error().kind(), ErrorKind::kNotFound);
  ::unsetenv("PATH");
  EXPECT_EQ(FindInPath("sh").value(), "/usr/bin/sh");
  ::setenv("PATH", before.c_str(), 1);
}

}  // namespace
}  // namespace gantry::kernel
