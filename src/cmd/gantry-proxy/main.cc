// SPDX-License-Identifier: Apache-2.0
//
// gantry-proxy: the published ports of one stack, for connections from the host itself, from
// neighbours on the bridge and over IPv6, and the containers' resolvers. docs/port-proxy.md,
// docs/resolver.md.
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include <cstdio>
#include <string>
#include <string_view>

#include "base/event_loop.h"
#include "base/io.h"
#include "base/log.h"
#include "kernel/descriptor_limit.h"
#include "portproxy/control_server.h"
#include "portproxy/port_table.h"
#include "portproxy/resolver.h"

namespace gantry {
namespace {

constexpr int kAlreadyRunning = 3;

struct Arguments {
  std::string socket;
  std::string pid_file;
  std::string log_file;
  bool background = false;
};

constexpr std::string_view kUsage =
    "usage: gantry-proxy --socket PATH --pid-file PATH [--log PATH] [--background]\n"
    "Holds published ports; gantryd tells it which, over the socket.\n"
    "With --background it returns once the socket answers; 3 if one is running already.\n";

Result<Arguments> Parse(int argc, char** argv) {
  Arguments arguments;
  for (int i = 1; i < argc; ++i) {
    std::string_view flag = argv[i];
    if (flag == "--background") {
      arguments.background = true;
      continue;
    }
    std::string* value = flag == "--socket"     ? &arguments.socket
                         : flag == "--pid-file" ? &arguments.pid_file
                         : flag == "--log"      ? &arguments.log_file
                                                : nullptr;
    if (value == nullptr) return InvalidArgument("unknown argument '{}'", flag);
    if (++i == argc) return InvalidArgument("{} needs a value", flag);
    *value = argv[i];
  }
  if (arguments.socket.empty()) return InvalidArgument("--socket is missing");
  if (arguments.pid_file.empty()) return InvalidArgument("--pid-file is missing");
  return arguments;
}

// The lock lasts as long as a process holds the open file, over fork(2) too. One that is just
// ending is waited for.
Result<UniqueFd> LockPidFile(const std::string& path) {
  struct sigaction interrupt{};
  interrupt.sa_handler = [](int) {};
  ::sigaction(SIGALRM, &interrupt, nullptr);
  itimerval wait{{0, 50'000}, {0, 500'000}};
  ::setitimer(ITIMER_REAL, &wait, nullptr);
  for (;;) {
    UniqueFd fd = TRY(OpenFile(path, O_RDWR | O_CREAT, 0644));
    if (::flock(fd.get(), LOCK_EX) < 0) {
      if (errno == EINTR) return AlreadyExists("another gantry-proxy holds '{}'", path);
      return ErrnoError("locking '{}'", path);
    }
    // One that was just ending may have removed the file that we opened.
    struct stat ours, theirs;
    if (::fstat(fd.get(), &ours) < 0) return ErrnoError("looking at '{}'", path);
    if (::stat(path.c_str(), &theirs) == 0 && ours.st_ino == theirs.st_ino) {
      itimerval none{};
      ::setitimer(ITIMER_REAL, &none, nullptr);
      return fd;
    }
  }
}

Result<> WritePid(BorrowedFd file, pid_t pid) {
  if (::ftruncate(file.get(), 0) < 0) return ErrnoError("writing the pid file");
  return WriteAll(file, fmt::format("{}\n", pid));
}

// Away from whoever started us: its session, terminal, directory and descriptors.
Result<> Detach(const Arguments& arguments) {
  if (::setsid() < 0) return ErrnoError("making a session");
  if (::chdir("/") < 0) return ErrnoError("leaving the directory");
  UniqueFd null = TRY(OpenFile("/dev/null", O_RDWR));
  UniqueFd log;
  if (!arguments.log_file.empty()) {
    log = TRY(OpenFile(arguments.log_file, O_WRONLY | O_CREAT | O_APPEND, 0640));
  }
  if (::dup2(null.get(), STDIN_FILENO) < 0 || ::dup2(null.get(), STDOUT_FILENO) < 0 ||
      ::dup2(log.valid() ? log.get() : null.get(), STDERR_FILENO) < 0) {
    return ErrnoError("redirecting the standard descriptors");
  }
  return {};
}

Result<> Serve(UniqueFd listener) {
  // Each connection is two descriptors, each port at least one.
  TRY(kernel::RaiseDescriptorLimit());
  ::signal(SIGPIPE, SIG_IGN);
  sigset_t ends;
  ::sigemptyset(&ends);
  ::sigaddset(&ends, SIGTERM);
  ::sigaddset(&ends, SIGINT);
  ::sigprocmask(SIG_SETMASK, &ends, nullptr);
  UniqueFd signals(::signalfd(-1, &ends, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals.valid()) return ErrnoError("making a signal descriptor");

  auto loop = TRY(EventLoop::Create());
  portproxy::PortTable ports(loop.get());
  portproxy::ResolverTable resolvers(loop.get());
  auto server =
      TRY(portproxy::ControlServer::Create(loop.get(), std::move(listener), &ports, &resolvers));
  TRY(loop->Watch(signals, EPOLLIN, [&](uint32_t) { loop->Stop(); }));
  return loop->Run();
}

Result<> Run(const Arguments& arguments) {
  UniqueFd lock = TRY(LockPidFile(arguments.pid_file));
  UniqueFd listener = TRY(portproxy::ListenOnControlSocket(arguments.socket));
  if (arguments.background) {
    pid_t child = ::fork();
    if (child < 0) return ErrnoError("going to the background");
    if (child > 0) {
      // The socket accepts connections already: whoever waited for us may connect.
      TRY(WritePid(lock, child));
      ::_exit(0);
    }
    TRY(Detach(arguments));
  } else {
    TRY(WritePid(lock, ::getpid()));
  }
  TRY(Serve(std::move(listener)));
  ::unlink(arguments.socket.c_str());
  ::unlink(arguments.pid_file.c_str());
  return {};
}

int Main(int argc, char** argv) {
  log::Configure("gantry-proxy", log::Level::kInfo, log::Format::kText);
  if (argc == 2 && std::string_view(argv[1]) == "--help") {
    (void)::fputs(kUsage.data(), stdout);
    return 0;
  }
  auto arguments = Parse(argc, argv);
  if (!arguments.ok()) {
    log::Failure("{}", arguments.error().message());
    return 2;
  }
  auto result = Run(*arguments);
  if (result.ok()) return 0;
  log::Failure("{}", result.error().message());
  return result.error().kind() == ErrorKind::kAlreadyExists ? kAlreadyRunning : 1;
}

}  // namespace
}  // namespace gantry

int main(int argc, char** argv) { return gantry::Main(argc, argv); }
