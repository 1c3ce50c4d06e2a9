// SPDX-License-Identifier: Apache-2.0
#include "shim/log_program.h"

#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <set>
#include <utility>

#include "base/log.h"
#include "kernel/pidfd.h"
#include "shim/process_io.h"

namespace gantry::shim {
namespace {

using namespace std::chrono_literals;

// containerd waits without a bound.
constexpr int kReadyTimeoutMs = 10'000;
// containerd sends SIGTERM at once, and a program that does not catch it loses what is still in the
// pipes. One that reads to the end of its input needs no signal.
constexpr auto kEndOfInputTime = 1s;
constexpr auto kTerminationTime = 12s;

// As Go's url.Query: of a key that comes twice the first value counts, one without a value has "".
std::vector<std::string> ArgumentsOf(const StdioUri& uri) {
  std::vector<std::string> args = {uri.path};
  std::set<std::string> seen;
  for (const auto& [key, value] : uri.query) {
    if (!seen.insert(key).second) continue;
    args.push_back(key);
    args.push_back(value);
  }
  return args;
}

Result<> WaitUntilReady(BorrowedFd fd, const StdioUri& uri) {
  pollfd poll{fd.get(), POLLIN, 0};
  int ready;
  do {
    ready = ::poll(&poll, 1, kReadyTimeoutMs);
  } while (ready < 0 && errno == EINTR);
  if (ready < 0) return ErrnoError("waiting for log program '{}'", uri.path);
  if (ready == 0) {
    return MakeError(ErrorKind::kDeadlineExceeded, "waiting for log program '{}'", uri.path);
  }
  if (uri.scheme != StdioScheme::kBinaryV2) return {};
  char byte;
  ssize_t got = ::read(fd.get(), &byte, 1);
  if (got < 0) return ErrnoError("waiting for log program '{}'", uri.path);
  if (got == 0) {
    return FailedPrecondition("starting log program '{}': it ended, or never said that it is ready",
                              uri.path);
  }
  return {};
}

void Signal(BorrowedFd pidfd, int number) {
  Result<> sent = kernel::SendSignal(pidfd, number);
  if (!sent.ok()) log::Debug("ending a log program: {}", sent.error().message());
}

}  // namespace

Result<LogProgram> LogProgram::Run(EventLoop* loop, const Start& start) {
  Pipe ready = TRY(MakePipe(0, 0));
  kernel::SpawnOptions options;
  options.program = start.uri.path;
  options.args = ArgumentsOf(start.uri);
  options.env = {"CONTAINER_ID=" + start.id, "CONTAINER_NAMESPACE=" + start.name_space};
  options.fds = {{start.out.get(), 3}, {start.err.get(), 4}, {ready.write.get(), 5}};
  options.group = kernel::ProcessGroup::kNewGroup;
  LogProgram program;
  program.loop_ = loop;
  program.process_ = TRY_WITH(kernel::Spawn(options), "starting log program '{}'", start.uri.path);
  ready.write.Reset();
  TRY(WaitUntilReady(ready.read, start.uri));
  return program;
}

LogProgram& LogProgram::operator=(LogProgram&& other) noexcept {
  if (this == &other) return *this;
  End(nullptr);
  loop_ = other.loop_;
  process_ = std::move(other.process_);
  return *this;
}

// A pidfd can be read when the process has ended, whoever reaps it.
void LogProgram::End(std::function<void()> done) {
  if (!process_.pidfd.valid()) {
    if (done) done();
    return;
  }
  struct Ending {
    UniqueFd pidfd;
    EventLoop::TimerId timer = 0;
  };
  auto ending = std::make_shared<Ending>();
  ending->pidfd = std::move(process_.pidfd);
  ending->timer = loop_->After(kEndOfInputTime, [loop = loop_, ending] {
    Signal(ending->pidfd, SIGTERM);
    ending->timer = loop->After(kTerminationTime, [ending] {
      log::Warning("a log program does not end after SIGTERM: it is killed");
      Signal(ending->pidfd, SIGKILL);
    });
  });
  Result<> watched = loop_->Watch(ending->pidfd, EPOLLIN, [loop = loop_, ending, done](uint32_t) {
    loop->Unwatch(ending->pidfd);
    loop->CancelTimer(ending->timer);
    if (done) done();
  });
  if (watched.ok()) return;
  log::Warning("waiting for a log program: {}", watched.error().message());
  if (done) done();
}

}  // namespace gantry::shim
