// SPDX-License-Identifier: Apache-2.0
#include "shim/server.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/event_loop.h"
#include "base/io.h"
#include "base/log.h"
#include "shim/container.h"
#include "shim/publisher.h"
#include "shim/reaper.h"
#include "shim/sandbox.h"
#include "shim/task_service.h"
#include "wire/ttrpc.h"

namespace gantry::shim {
namespace {

using namespace std::chrono_literals;

// The daemon that shuts us down should have every event; one that is gone is not waited for.
constexpr auto kFlushLimit = 2000ms;
constexpr auto kAnswerLimit = 500ms;

Result<sockaddr_un> AddressOf(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return InvalidArgument("socket '{}': longer than 107 bytes", path);
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

// Asks the loop until the last answer has left, or the time is up.
void StopWhenSent(EventLoop* loop, wire::TtrpcServer* server, SteadyClock::time_point deadline) {
  if (server->PendingBytes() == 0 || SteadyClock::now() > deadline) return loop->Stop();
  loop->After(1ms, [=] { StopWhenSent(loop, server, deadline); });
}

}  // namespace

bool Answers(const std::string& path) {
  Result<sockaddr_un> address = AddressOf(path);
  UniqueFd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  return address.ok() &&
         ::connect(probe.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof *address) == 0;
}

Result<UniqueFd> ListenAt(const std::string& path) {
  sockaddr_un address = TRY(AddressOf(path));
  const auto* generic = reinterpret_cast<const sockaddr*>(&address);
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return ErrnoError("making a socket");
  std::string directory = path.substr(0, path.rfind('/'));
  if (!PathExists(directory)) TRY(MakeDirectories(directory, 0700));
  // Two of a group may come at once: nobody sees a socket that is bound and does not listen yet.
  UniqueFd lock = TRY(OpenFile(directory, O_RDONLY | O_DIRECTORY));
  if (::flock(lock.get(), LOCK_EX) < 0) return ErrnoError("locking '{}'", directory);
  int bound = ::bind(fd.get(), generic, sizeof address);
  if (bound < 0 && errno == EADDRINUSE) {
    if (Answers(path)) return AlreadyExists("a shim answers on '{}' already", path);
    ::unlink(path.c_str());
    bound = ::bind(fd.get(), generic, sizeof address);
  }
  if (bound < 0) return ErrnoError("binding '{}'", path);
  ::chmod(path.c_str(), 0600);
  if (::listen(fd.get(), 64) < 0) return ErrnoError("listening on '{}'", path);
  return fd;
}

Result<> Serve(const Arguments& arguments, UniqueFd listener, const std::string& socket_path) {
  ::signal(SIGPIPE, SIG_IGN);
  std::unique_ptr<EventLoop> loop = TRY(EventLoop::Create());
  std::unique_ptr<Reaper> reaper = TRY(Reaper::Create(loop.get()));
  Publisher publisher(loop.get(), arguments.ttrpc_address, arguments.name_space);
  Container container(loop.get(), reaper.get(), &publisher, arguments);
  std::unique_ptr<wire::TtrpcServer> server;
  auto make = [&](const std::string& id) {
    Arguments other = arguments;
    other.id = id;
    return std::make_unique<Container>(loop.get(), reaper.get(), &publisher, std::move(other));
  };
  auto end = [&](std::function<void()> answer) {
    publisher.WhenFlushed(kFlushLimit, [&, answer = std::move(answer)] {
      answer();
      StopWhenSent(loop.get(), server.get(), SteadyClock::now() + kAnswerLimit);
    });
  };
  SandboxService sandbox(loop.get(), &container, arguments, end);
  TaskService tasks(&container, make, [&] { return sandbox.exists(); }, end);
  server =
      TRY(wire::TtrpcServer::Create(loop.get(), std::move(listener), [&](wire::TtrpcCall call) {
        if (call.service() == kSandboxService) return sandbox.Handle(call);
        tasks.Handle(std::move(call));
      }));
  Result<> ran = loop->Run();
  ::unlink(socket_path.c_str());
  return ran;
}

}  // namespace gantry::shim
