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
#include <memory>
#include <utility>
#include <vector>

#include "base/event_loop.h"
#include "base/io.h"
#include "base/log.h"
#include "shim/container.h"
#include "shim/group.h"
#include "shim/publisher.h"
#include "shim/reaper.h"
#include "shim/sandbox.h"
#include "shim/task_service.h"
#include "wire/ttrpc.h"

namespace gantry::shim {
namespace {

using namespace std::chrono_literals;

// The daemon that shuts us down should have every event. One that is there and takes none is not
// waited for; one that was killed meanwhile has a successor, but perhaps not before its machine's
// administrator has looked.
constexpr auto kFlushLimit = 5000ms;
constexpr auto kSuccessorLimit = 1h;
constexpr auto kAnswerLimit = 500ms;
// The second finds no socket, unless others of the group have made one meanwhile.
constexpr int kJoinAttempts = 3;

Result<sockaddr_un> AddressOf(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return InvalidArgument("socket '{}': longer than 107 bytes", path);
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

bool Answers(const std::string& path) {
  Result<sockaddr_un> address = AddressOf(path);
  UniqueFd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  return address.ok() &&
         ::connect(probe.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof *address) == 0;
}

// Whoever makes or removes sockets in the directory has it: nobody sees one that is bound and does
// not listen yet.
Result<UniqueFd> LockDirectoryOf(const std::string& path) {
  std::string directory = path.substr(0, path.rfind('/'));
  UniqueFd lock = TRY(OpenFile(directory, O_RDONLY | O_DIRECTORY));
  if (::flock(lock.get(), LOCK_EX) < 0) return ErrnoError("locking '{}'", directory);
  return lock;
}

// Asks the loop until the last answer has left, or the time is up.
void StopWhenSent(EventLoop* loop, wire::TtrpcServer* server, SteadyClock::time_point deadline) {
  if (server->PendingBytes() == 0 || SteadyClock::now() > deadline) return loop->Stop();
  loop->After(1ms, [=] { StopWhenSent(loop, server, deadline); });
}

// The path of our own socket: it is removed once, and not when another shim has its place already.
class SocketFile {
 public:
  explicit SocketFile(std::string path) : path_(std::move(path)) {
    if (::stat(path_.c_str(), &made_) < 0) path_.clear();
  }
  ~SocketFile() { Remove(); }
  SocketFile(const SocketFile&) = delete;
  SocketFile& operator=(const SocketFile&) = delete;

  void Remove() {
    std::string path = std::exchange(path_, {});
    struct stat now{};
    if (path.empty() || ::stat(path.c_str(), &now) < 0) return;
    if (now.st_ino == made_.st_ino && now.st_dev == made_.st_dev) ::unlink(path.c_str());
  }

 private:
  std::string path_;
  struct stat made_{};
};

// The services of one shim, and its end.
class Server {
 public:
  Server(EventLoop* loop, Reaper* reaper, const Arguments& arguments, ServedFor whom,
         const std::string& socket_path)
      : loop_(loop),
        socket_(socket_path),
        publisher_(loop, arguments.ttrpc_address, arguments.name_space),
        awaited_(loop, [this] { tasks_.EndIfUnused(); }),
        tasks_(std::make_unique<Container>(loop, reaper, &publisher_, arguments), Hooks(reaper)),
        sandbox_(loop, &tasks_, arguments,
                 [this](std::function<void()> answer) { End(std::move(answer)); }),
        arguments_(arguments) {
    if (whom == ServedFor::kDaemon) awaited_.Add(arguments.id);
  }

  Result<> Listen(UniqueFd listener) {
    server_ = TRY(wire::TtrpcServer::Create(
        loop_, std::move(listener), [this](wire::TtrpcCall call) { Handle(std::move(call)); }));
    return {};
  }

 private:
  TaskService::Hooks Hooks(Reaper* reaper) {
    TaskService::Hooks hooks;
    hooks.make = [this, reaper](const std::string& id) {
      Arguments other = arguments_;
      other.id = id;
      return std::make_unique<Container>(loop_, reaper, &publisher_, std::move(other));
    };
    hooks.in_use = [this] { return sandbox_.exists() || !awaited_.empty(); };
    hooks.on_known = [this](const std::string& id) { awaited_.Remove(id); };
    hooks.on_deleted = [this] {
      if (sandbox_.shut_down()) tasks_.EndIfUnused();
    };
    hooks.on_shutdown = [this](std::function<void()> answer) { End(std::move(answer)); };
    return hooks;
  }

  void Handle(wire::TtrpcCall call) {
    const std::string& method = call.method();
    // Nothing may begin here any more.
    if (ending_ && (method == "Create" || method == "CreateSandbox")) {
      return call.Reply(Unavailable("this shim is ending"));
    }
    if (call.service() == kGroupService) return Join(call);
    if (call.service() != kSandboxService) return tasks_.Handle(std::move(call));
    if (method == "CreateSandbox") awaited_.Remove(arguments_.id);
    sandbox_.Handle(call);
  }

  // Refused at the end of an ending shim, when whoever tries again finds no socket.
  void Join(const wire::TtrpcCall& call) {
    if (ending_) {
      return answers_.push_back([call] { call.Reply(Unavailable("this shim has ended")); });
    }
    Result<task::ConnectRequest> request = task::ConnectRequest::Decode(call.payload());
    if (!request.ok()) return call.Reply(std::move(request).error());
    awaited_.Add(request->id);
    call.Reply(std::string());
  }

  // `answer` runs when the daemon has the events. Until then the shim can be reached: a new daemon
  // that found no socket would take it for dead, and tell its tasks' ends beside the shim itself.
  // Each call gives the daemon that made it the whole time.
  void End(std::function<void()> answer) {
    ending_ = true;
    answers_.push_back(std::move(answer));
    StopWhenFlushed(SteadyClock::now() + kSuccessorLimit);
  }

  void StopWhenFlushed(SteadyClock::time_point give_up) {
    publisher_.WhenFlushed(kFlushLimit, [this, give_up](Publisher::Flushed flushed) {
      bool alone = server_->connections() == 0 && SteadyClock::now() < give_up;
      if (flushed == Publisher::Flushed::kNotYet && alone) return StopWhenFlushed(give_up);
      socket_.Remove();
      for (const auto& one : std::exchange(answers_, {})) one();
      StopWhenSent(loop_, server_.get(), SteadyClock::now() + kAnswerLimit);
    });
  }

  EventLoop* loop_;
  SocketFile socket_;
  Publisher publisher_;
  AwaitedMembers awaited_;
  TaskService tasks_;
  SandboxService sandbox_;
  const Arguments arguments_;
  std::unique_ptr<wire::TtrpcServer> server_;
  bool ending_ = false;
  std::vector<std::function<void()>> answers_;  // to those who wait for the end
};

}  // namespace

Result<UniqueFd> ListenAt(const std::string& path, const std::string& id) {
  sockaddr_un address = TRY(AddressOf(path));
  const auto* generic = reinterpret_cast<const sockaddr*>(&address);
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return ErrnoError("making a socket");
  std::string directory = path.substr(0, path.rfind('/'));
  if (!PathExists(directory)) TRY(MakeDirectories(directory, 0700));
  for (int attempt = 0; attempt < kJoinAttempts; ++attempt) {
    {
      UniqueFd lock = TRY(LockDirectoryOf(path));
      int bound = ::bind(fd.get(), generic, sizeof address);
      if (bound < 0 && errno == EADDRINUSE && !Answers(path)) {
        ::unlink(path.c_str());
        bound = ::bind(fd.get(), generic, sizeof address);
      }
      if (bound < 0 && errno != EADDRINUSE) return ErrnoError("binding '{}'", path);
      if (bound == 0) {
        ::chmod(path.c_str(), 0600);
        if (::listen(fd.get(), 64) < 0) return ErrnoError("listening on '{}'", path);
        return fd;
      }
    }
    // Without the lock, so that a shim that hangs holds up nobody but its group.
    if (id.empty() || JoinGroup(path, id).ok()) {
      return AlreadyExists("a shim answers on '{}' already", path);
    }
    // It removes its socket before it refuses.
  }
  return Unavailable("the shim on '{}' takes nobody in and does not end", path);
}

void RemoveDeadSocket(const std::string& path) {
  Result<UniqueFd> lock = LockDirectoryOf(path);
  if (lock.ok() && !Answers(path)) ::unlink(path.c_str());
}

Result<> Serve(const Arguments& arguments, ServedFor whom, UniqueFd listener,
               const std::string& socket_path) {
  ::signal(SIGPIPE, SIG_IGN);
  std::unique_ptr<EventLoop> loop = TRY(EventLoop::Create());
  std::unique_ptr<Reaper> reaper = TRY(Reaper::Create(loop.get()));
  Server server(loop.get(), reaper.get(), arguments, whom, socket_path);
  TRY(server.Listen(std::move(listener)));
  return loop->Run();
}

}  // namespace gantry::shim
