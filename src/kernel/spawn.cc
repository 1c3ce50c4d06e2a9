// SPDX-License-Identifier: Apache-2.0
#include "kernel/spawn.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "base/io.h"
#include "base/text.h"
#include "kernel/clone.h"
#include "kernel/descriptor_limit.h"

namespace gantry::kernel {
namespace {

// What the child failed at; it shares our memory, so it just writes here.
struct Failure {
  const char* step = nullptr;
  int error_number = 0;
};

struct ChildPlan {
  const char* program;
  int program_file;
  char* const* argv;
  char* const* envp;
  const char* cwd;
  FdMapping* fds;  // scratch: the child may renumber `parent`
  size_t fd_count;
  int first_free;  // above every child number
  ProcessGroup group;
  int parent_death_signal;
  pid_t parent_pid;
  std::optional<rlimit> descriptors;
  Failure failure;
};

bool Fail(ChildPlan* plan, const char* step) {
  plan->failure = {step, errno};
  return false;
}

// Two rounds, since a target may be another entry's source: first everything goes above all
// targets, then to its place. dup3 without O_CLOEXEC here is the only thing that lets a descriptor
// through an exec.
bool PlaceFds(ChildPlan* plan) {
  ::close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
  if (plan->program_file >= 0) {
    plan->program_file = ::fcntl(plan->program_file, F_DUPFD_CLOEXEC, plan->first_free);
    if (plan->program_file < 0) return Fail(plan, "duplicating the program's descriptor");
  }
  for (size_t i = 0; i < plan->fd_count; ++i) {
    int moved = ::fcntl(plan->fds[i].parent, F_DUPFD_CLOEXEC, plan->first_free);
    if (moved < 0) return Fail(plan, "duplicating a descriptor");
    plan->fds[i].parent = moved;
  }
  bool standard[3] = {};
  for (size_t i = 0; i < plan->fd_count; ++i) {
    if (::dup3(plan->fds[i].parent, plan->fds[i].child, 0) < 0) {
      return Fail(plan, "placing a descriptor");
    }
    if (plan->fds[i].child < 3) standard[plan->fds[i].child] = true;
  }
  for (int fd = 0; fd < 3; ++fd) {
    if (standard[fd]) continue;
    int null_fd = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null_fd < 0) return Fail(plan, "opening '/dev/null'");
    if (null_fd == fd) {
      ::fcntl(fd, F_SETFD, 0);
    } else {
      if (::dup3(null_fd, fd, 0) < 0) return Fail(plan, "placing a descriptor");
      ::close(null_fd);
    }
  }
  return true;
}

bool Prepare(ChildPlan* plan) {
  if (plan->group == ProcessGroup::kNewSession) {
    if (::setsid() < 0) return Fail(plan, "making a session");
  } else if (plan->group == ProcessGroup::kNewGroup) {
    if (::setpgid(0, 0) < 0) return Fail(plan, "making a process group");
  }
  if (plan->parent_death_signal != 0) {
    if (::prctl(PR_SET_PDEATHSIG, plan->parent_death_signal) < 0) {
      return Fail(plan, "setting the parent-death signal");
    }
    // The parent may have died before that took effect.
    if (::getppid() != plan->parent_pid) ::_exit(127);
  }
  if (plan->cwd != nullptr && ::chdir(plan->cwd) < 0) return Fail(plan, "entering the directory");
  if (!PlaceFds(plan)) return false;
  if (plan->descriptors && ::setrlimit(RLIMIT_NOFILE, &*plan->descriptors) < 0) {
    return Fail(plan, "setting the limit of descriptors");
  }
  // CLONE_CLEAR_SIGHAND, where there is clone3, has reset handlers; what we ignore, or whoever
  // started us in the background (SIGINT and SIGQUIT), would stay ignored, in containers too. 0.2
  // µs a signal.
  struct sigaction by_default{};
  by_default.sa_handler = SIG_DFL;
  for (int number = 1; number < NSIG; ++number) ::sigaction(number, &by_default, nullptr);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  return true;
}

int ChildMain(void* argument) {
  ChildPlan* plan = static_cast<ChildPlan*>(argument);
  if (!Prepare(plan)) return 127;
  if (plan->program_file >= 0) {
    ::syscall(SYS_execveat, plan->program_file, "", plan->argv, plan->envp, AT_EMPTY_PATH);
  } else {
    ::execve(plan->program, plan->argv, plan->envp);
  }
  Fail(plan, "executing");
  return 127;
}

std::vector<char*> Pointers(const std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  pointers.reserve(strings.size() + 1);
  for (const std::string& text : strings) pointers.push_back(const_cast<char*>(text.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

Result<std::optional<ExitStatus>> Wait(BorrowedFd pidfd, int flags) {
  siginfo_t info{};
  int result;
  do {
    result = ::waitid(P_PIDFD, static_cast<id_t>(pidfd.get()), &info, WEXITED | flags);
  } while (result < 0 && errno == EINTR);
  if (result < 0) return ErrnoError("waiting for a process");
  if (info.si_pid == 0) return std::optional<ExitStatus>();
  ExitStatus status;
  if (info.si_code == CLD_EXITED) {
    status.code = info.si_status;
  } else {
    status.signal = info.si_status;
    status.core_dumped = info.si_code == CLD_DUMPED;
  }
  return std::optional<ExitStatus>(status);
}

}  // namespace

Result<SpawnedProcess> Spawn(const SpawnOptions& options) {
  std::vector<char*> argv = Pointers(options.args);
  std::vector<char*> envp = Pointers(options.env);
  std::vector<FdMapping> fds = options.fds;
  int first_free = 3;
  for (const FdMapping& fd : fds) first_free = std::max(first_free, fd.child + 1);
  ChildPlan plan{options.program.c_str(),
                 options.program_file.get(),
                 argv.data(),
                 envp.data(),
                 options.cwd.empty() ? nullptr : options.cwd.c_str(),
                 fds.data(),
                 fds.size(),
                 first_free,
                 options.group,
                 options.parent_death_signal,
                 ::getpid(),
                 InheritedDescriptorLimit(),
                 {}};

  alignas(16) char stack[16 * 1024];
  int pidfd = -1;
  clone_args args{};
  args.flags = CLONE_VM | CLONE_VFORK | CLONE_PIDFD | CLONE_CLEAR_SIGHAND;
  args.pidfd = reinterpret_cast<uintptr_t>(&pidfd);
  args.exit_signal = SIGCHLD;
  args.stack = reinterpret_cast<uintptr_t>(stack);
  args.stack_size = sizeof stack;
  if (options.cgroup.valid()) {
    args.flags |= CLONE_INTO_CGROUP;
    args.cgroup = static_cast<uint64_t>(options.cgroup.get());
  }
  // A handler of ours must not run in the child: it would work on shared memory.
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_BLOCK, &all, &before);
  pid_t pid = CloneOnStack(&args, ChildMain, &plan);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (pid < 0) return ErrnoErrorOf(-pid, fmt::format("cloning for '{}'", options.program));
  SpawnedProcess process{pid, UniqueFd(pidfd)};
  if (plan.failure.step != nullptr) {
    (void)WaitExit(process.pidfd);
    return ErrnoErrorOf(plan.failure.error_number,
                        fmt::format("starting '{}': {}", options.program, plan.failure.step));
  }
  return process;
}

Result<ExitStatus> WaitExit(BorrowedFd pidfd) {
  std::optional<ExitStatus> status = TRY(Wait(pidfd, 0));
  CHECK(status.has_value());
  return *status;
}

Result<std::optional<ExitStatus>> PollExit(BorrowedFd pidfd) { return Wait(pidfd, WNOHANG); }

Result<ExitStatus> SpawnAndWait(const SpawnOptions& options) {
  SpawnedProcess process = TRY(Spawn(options));
  return WaitExit(process.pidfd);
}

Result<ProgramOutput> SpawnAndRead(SpawnOptions options, Captured captured, size_t limit) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) < 0) return ErrnoError("making a pipe");
  UniqueFd output(ends[0]);
  UniqueFd input(ends[1]);
  options.fds.push_back({input.get(), 1});
  if (captured == Captured::kOutputAndErrors) options.fds.push_back({input.get(), 2});
  SpawnedProcess process = TRY_WITH(Spawn(options), "executing '{}'", options.program);
  input.Reset();
  Result<std::string> text = ReadToEnd(output, limit);
  output.Reset();  // ends a program that has more to say
  ExitStatus status = TRY(WaitExit(process.pidfd));
  return ProgramOutput{status, TRY_WITH(std::move(text), "output of '{}'", options.program)};
}

Result<std::string> FindInPath(std::string_view name) {
  const char* path = ::getenv("PATH");
  if (path == nullptr || *path == '\0') {
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  }
  for (const std::string& directory : SplitWords(path, ":")) {
    std::string file = fmt::format("{}/{}", directory, name);
    if (directory.starts_with('/') && ::access(file.c_str(), X_OK) == 0) return file;
  }
  return NotFound("exec: \"{}\": executable file not found in $PATH", name);
}

}  // namespace gantry::kernel
