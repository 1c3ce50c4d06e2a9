// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantryd/socket_holder.h"

#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <optional>

#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "base/pid_file.h"
#include "base/stop_token.h"
#include "kernel/pty.h"
#include "kernel/spawn.h"
#include "wire/listener.h"

namespace gantry::gantryd {
namespace {

constexpr std::chrono::seconds kAnswerBound{10};

std::string ControlPath(const std::string& run_directory) {
  return run_directory + "/docker-socket.sock";
}
std::string PidPath(const std::string& run_directory) {
  return run_directory + "/gantry-docker-socket.pid";
}

// What a socket's file is known by: a file that was removed and made anew is another one.
std::string FileIdentity(const std::string& path) {
  struct stat status{};
  if (::lstat(path.c_str(), &status) < 0) return "";
  return fmt::format("{}:{} {}", status.st_dev, status.st_ino, path);
}

struct Received {
  UniqueFd listener;
  std::string identity;
};

Result<Received> ReceiveListener(BorrowedFd connection) {
  TRY_WITH(WaitFor(connection, POLLIN, kAnswerBound), "asking the holder of the docker socket");
  char bytes[512];
  char control[CMSG_SPACE(sizeof(int))] = {};
  iovec text{bytes, sizeof bytes};
  msghdr message{};
  message.msg_iov = &text;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t count = ::recvmsg(connection.get(), &message, MSG_CMSG_CLOEXEC);
  if (count < 0) return ErrnoError("receiving a socket");
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (header == nullptr || header->cmsg_type != SCM_RIGHTS) {
    return Unavailable("the holder of the docker socket sent none");
  }
  int fd = -1;
  std::memcpy(&fd, CMSG_DATA(header), sizeof fd);
  return Received{UniqueFd(fd), std::string(bytes, static_cast<size_t>(count))};
}

Result<UniqueFd> ConnectTo(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return InvalidArgument("socket path '{}' is longer than 107 bytes", path);
  }
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return ErrnoError("making a socket");
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) < 0) {
    return ErrnoError("connecting to '{}'", path);
  }
  return fd;
}

// The living holder's listener; nothing when there is no holder.
Result<std::optional<Received>> AskHolder(const std::string& run_directory) {
  Result<UniqueFd> connection = ConnectTo(ControlPath(run_directory));
  if (!connection.ok()) return std::optional<Received>();
  return std::optional(TRY(ReceiveListener(*connection)));
}

// A holder of another path, or whose file somebody has removed, makes room.
Result<> EndHolder(const std::string& run_directory) {
  std::string text = TRY(ReadFile(PidPath(run_directory), 64));
  pid_t pid = static_cast<pid_t>(std::atoi(text.c_str()));
  if (pid <= 1) return Unavailable("'{}' names no process", PidPath(run_directory));
  UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!pidfd.valid()) return {};
  if (::syscall(SYS_pidfd_send_signal, pidfd.get(), SIGTERM, nullptr, 0) < 0 && errno != ESRCH) {
    return ErrnoError("ending the holder of the docker socket");
  }
  return WaitFor(pidfd, POLLIN, kAnswerBound);
}

Result<Received> StartHolder(const HeldSocket& wanted, const std::string& program) {
  kernel::SpawnOptions options;
  options.program = program;
  options.args = {program, std::string(kHoldSocketFlag), wanted.path, wanted.group,
                  wanted.run_directory};
  options.fds = {{2, 2}};
  options.group = kernel::ProcessGroup::kNewSession;
  kernel::SpawnedProcess process = TRY(kernel::Spawn(options));
  auto deadline = SteadyClock::now() + kAnswerBound;
  while (SteadyClock::now() < deadline) {
    std::optional<Received> answer = TRY(AskHolder(wanted.run_directory));
    if (answer) return *std::move(answer);
    // It ends by itself when it can't have the socket; its own log line says why.
    Result<> ended = WaitFor(process.pidfd, POLLIN, std::chrono::milliseconds(10));
    if (ended.ok()) {
      (void)kernel::PollExit(process.pidfd);
      return AlreadyExists("'{}' can't be served", wanted.path);
    }
  }
  return MakeError(ErrorKind::kDeadlineExceeded, "the holder of the docker socket does not answer");
}

Result<> Hold(const HeldSocket& held) {
  PidFile pid_file = TRY(PidFile::Lock(PidPath(held.run_directory)));
  UniqueFd control = TRY(wire::OpenListener("unix://" + ControlPath(held.run_directory), ""));
  if (::chmod(ControlPath(held.run_directory).c_str(), 0600) < 0) {
    return ErrnoError("setting the mode of '{}'", ControlPath(held.run_directory));
  }
  UniqueFd listener = TRY(wire::OpenListener("unix://" + held.path, held.group));
  std::string identity = FileIdentity(held.path);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  UniqueFd signals(::signalfd(-1, &set, SFD_CLOEXEC));
  if (!signals.valid()) return ErrnoError("watching signals");
  for (;;) {
    pollfd watched[] = {{control.get(), POLLIN, 0}, {signals.get(), POLLIN, 0}};
    if (::poll(watched, 2, -1) < 0 && errno != EINTR) return ErrnoError("waiting");
    if (watched[1].revents != 0) break;
    UniqueFd connection(::accept4(control.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!connection.valid()) continue;
    Result<> sent = kernel::SendDescriptor(connection, listener, identity);
    if (!sent.ok()) log::Warning("{}", sent.error().message());
  }
  if (FileIdentity(held.path) == identity) (void)::unlink(held.path.c_str());
  (void)::unlink(ControlPath(held.run_directory).c_str());
  return {};
}

}  // namespace

Result<UniqueFd> TakeHeldSocket(const HeldSocket& wanted, const std::string& program) {
  std::optional<Received> present = TRY(AskHolder(wanted.run_directory));
  if (present && present->identity == FileIdentity(wanted.path)) {
    return std::move(present->listener);
  }
  if (present) {
    present.reset();
    TRY_WITH(EndHolder(wanted.run_directory), "replacing the holder of the docker socket");
  }
  return std::move(TRY(StartHolder(wanted, program)).listener);
}

int HoldSocket(const std::vector<std::string>& arguments) {
  log::Configure("gantryd", log::Level::kInfo, log::Format::kText);
  if (arguments.size() != 3) {
    log::Failure("{} takes PATH GROUP RUN_DIRECTORY", kHoldSocketFlag);
    return 2;
  }
  Result<> held = Hold({arguments[0], arguments[1], arguments[2]});
  if (held.ok()) return 0;
  log::Failure("{}", held.error().message());
  return 1;
}

}  // namespace gantry::gantryd
