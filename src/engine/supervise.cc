// SPDX-License-Identifier: Apache-2.0
#include "engine/supervise.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <future>
#include <utility>

#include "base/io.h"
#include "base/log.h"
#include "base/text.h"
#include "kernel/spawn.h"

namespace gantry::engine {
namespace {

// One that died sooner is not started again at once.
constexpr std::chrono::seconds kHealthyLife{5};
constexpr std::chrono::seconds kRetryDelay{1};

std::vector<std::string> Environment() {
  std::vector<std::string> out;
  for (char** entry = environ; *entry != nullptr; ++entry) out.emplace_back(*entry);
  return out;
}

std::string RootIn(const std::vector<std::string>& arguments) {
  auto flag = std::find(arguments.begin(), arguments.end(), "--root");
  return flag == arguments.end() || flag + 1 == arguments.end() ? "" : flag[1];
}

// One that outlived a gantryd with another data-root or userns-remap has other images, and runs
// containers that this one does not know.
Result<> CheckRoot(int pid, const SupervisedDaemon& daemon) {
  std::string words = TRY(ReadFile(fmt::format("/proc/{}/cmdline", pid)));
  std::string root = RootIn(Split(words, '\0'));
  std::string wanted = RootIn(daemon.arguments);
  if (root.empty() || root == wanted) return {};
  return FailedPrecondition(
      "{} runs as process {} with the data of '{}', not '{}' (hint: end it, and the containers "
      "that "
      "it has, before data-root or userns-remap change)",
      daemon.program, pid, root, wanted);
}

}  // namespace

Result<std::unique_ptr<Supervisor>> Supervisor::Start(EventLoop& loop, SupervisedDaemon daemon) {
  std::unique_ptr<Supervisor> supervisor(new Supervisor(loop, std::move(daemon)));
  if (!TRY(supervisor->Adopt())) TRY(supervisor->Spawn());
  loop.Post([raw = supervisor.get()] { raw->Watch(); });
  return supervisor;
}

Supervisor::~Supervisor() {
  std::promise<void> done;
  loop_.Post([this, &done] {
    if (pidfd_.valid()) loop_.Unwatch(pidfd_);
    done.set_value();
  });
  done.get_future().wait();
}

Result<bool> Supervisor::Adopt() {
  Result<UniqueFd> file = OpenFile(daemon_.pid_file, O_RDONLY);
  if (!file.ok()) {
    if (file.error().kind() == ErrorKind::kNotFound) return false;
    return std::move(file).error();
  }
  // Whoever lives has the lock.
  if (::flock(file->get(), LOCK_SH | LOCK_NB) == 0) return false;
  if (errno != EWOULDBLOCK) return ErrnoError("locking '{}'", daemon_.pid_file);
  std::string text = TRY(ReadToEnd(*file, 64));
  int pid = std::atoi(text.c_str());
  if (pid <= 0) return Unavailable("'{}' is locked and names no process", daemon_.pid_file);
  UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!pidfd.valid()) {
    if (errno == ESRCH) return false;
    return ErrnoError("opening process {}", pid);
  }
  TRY(CheckRoot(pid, daemon_));
  pidfd_ = std::move(pidfd);
  is_child_ = false;
  started_ = SteadyClock::now();
  log::Info("using {} with pid {}", daemon_.program, pid);
  return true;
}

Result<> Supervisor::Spawn() {
  kernel::SpawnOptions options;
  options.program = daemon_.program;
  options.args = daemon_.arguments;
  options.args.insert(options.args.begin(), daemon_.program);
  options.env = Environment();
  options.fds = {{STDOUT_FILENO, STDOUT_FILENO}, {STDERR_FILENO, STDERR_FILENO}};
  // A session of its own: what ends this process's group leaves it alone.
  options.group = kernel::ProcessGroup::kNewSession;
  options.cwd = "/";
  kernel::SpawnedProcess process =
      TRY_WITH(kernel::Spawn(options), "starting '{}'", daemon_.program);
  log::Info("started {} with pid {}", daemon_.program, process.pid);
  pidfd_ = std::move(process.pidfd);
  is_child_ = true;
  started_ = SteadyClock::now();
  return {};
}

void Supervisor::Watch() {
  Result<> watching = loop_.Watch(pidfd_, EPOLLIN, [this](uint32_t) { OnExit(); });
  if (!watching.ok()) log::Failure("watching {}: {}", daemon_.program, watching.error().message());
}

void Supervisor::OnExit() {
  loop_.Unwatch(pidfd_);
  int code = -1;
  if (is_child_) {
    Result<kernel::ExitStatus> status = kernel::WaitExit(pidfd_);
    if (status.ok()) code = status->ShellCode();
  }
  pidfd_.Reset();
  log::Warning("{} has ended{}", daemon_.program,
               code >= 0 ? fmt::format(" with status {}", code) : "");
  if (SteadyClock::now() - started_ > kHealthyLife) return StartAgain();
  loop_.After(kRetryDelay, [this] { StartAgain(); });
}

void Supervisor::StartAgain() {
  Result<bool> adopted = Adopt();
  Result<> running = adopted.ok() ? (*adopted ? Result<>() : Spawn()) : Result<>(adopted.error());
  if (running.ok()) return Watch();
  log::Failure("{}", running.error().message());
  loop_.After(kRetryDelay, [this] { StartAgain(); });
}

}  // namespace gantry::engine
