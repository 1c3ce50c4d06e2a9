// SPDX-License-Identifier: Apache-2.0
#include "engine/attach.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/io.h"
#include "base/log.h"
#include "base/stop_token.h"
#include "wire/socket_io.h"

namespace gantry::engine {
namespace {

constexpr std::chrono::seconds kHandshakeBound{10};
constexpr std::string_view kMagic = "GIO1";

Result<> ReceiveExactly(BorrowedFd socket, char* out, size_t size) {
  size_t have = 0;
  while (have < size) {
    ssize_t count = ::recv(socket.get(), out + have, size - have, MSG_DONTWAIT);
    if (count > 0) {
      have += static_cast<size_t>(count);
    } else if (count == 0) {
      return Unavailable("the process's output is closed");
    } else if (errno == EAGAIN) {
      TRY(WaitFor(socket, POLLIN, kHandshakeBound));
    } else if (errno != EINTR) {
      return ErrnoError("receiving");
    }
  }
  return {};
}

// The client's socket from the last byte of output until the engine has recorded the container's
// end: whoever reads to the end of the stream and then inspects finds the exit code, as in docker.
// In the loop's thread, but for RunEnded.
class Farewell : public std::enable_shared_from_this<Farewell> {
 public:
  explicit Farewell(EventLoop& loop) : loop_(loop) {}

  // From any thread.
  void RunEnded() {
    loop_.Post([self = shared_from_this()] {
      self->run_ended_ = true;
      self->Drop();
    });
  }

  void Hold(UniqueFd client) {
    if (run_ended_) return;
    client_ = std::move(client);
    // A client that hangs up is not kept for as long as a program without output runs.
    Result<> watching = loop_.Watch(client_, 0, [self = shared_from_this()](uint32_t events) {
      if (events & (EPOLLERR | EPOLLHUP)) self->Drop();
    });
    if (watching.ok()) return;
    log::Warning("attach: {}", watching.error().message());
    client_.Reset();
  }

 private:
  void Drop() {
    if (!client_.valid()) return;
    loop_.Unwatch(client_);
    client_.Reset();
  }

  EventLoop& loop_;
  UniqueFd client_;
  bool run_ended_ = false;
};

// A relay that waits for its container's start.
struct Waiting {
  explicit Waiting(EventLoop& loop) : farewell(std::make_shared<Farewell>(loop)) {}

  std::atomic<bool> joined{false};
  std::shared_ptr<wire::Relay> relay;
  std::shared_ptr<Farewell> farewell;
  std::atomic<uint64_t> number{0};
  std::atomic<uint64_t> removal{0};  // the wait for the container's removal
  std::atomic<uint64_t> run{0};      // the wait for the end of the run that is joined; 0: none is
};

// Before the run's output is joined: its end is not missed.
void FollowRun(Container& container, Waiting& waiting) {
  waiting.run =
      container.Wait(WaitCondition::kNextExit,
                     [farewell = waiting.farewell](const WaitResult&) { farewell->RunEnded(); });
  const ContainerState state = container.record()->state;
  if (!state.IsAlive() && state.phase != Phase::kStarting) waiting.farewell->RunEnded();
}

void Join(Container& container, Waiting& waiting, Result<std::string> socket, uint8_t streams,
          uint64_t offset) {
  if (waiting.joined.exchange(true)) return;
  if (!socket.ok()) return waiting.relay->Close();
  FollowRun(container, waiting);
  Result<UniqueFd> process = ConnectAttachSocket(*socket, streams, offset);
  if (!process.ok()) {
    log::Warning("{}", process.error().message());
    waiting.farewell->RunEnded();
    return waiting.relay->Close();
  }
  waiting.relay->Connect(*std::move(process));
}

}  // namespace

Result<UniqueFd> ConnectAttachSocket(const std::string& path, uint8_t streams, uint64_t offset) {
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.valid()) return ErrnoError("making a socket");
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return InvalidArgument("attach socket '{}' has a path longer than 107 bytes", path);
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  if (::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) < 0) {
    return ErrnoError("connecting to '{}'", path);
  }
  char request[16] = {};
  std::memcpy(request, kMagic.data(), kMagic.size());
  request[4] = static_cast<char>(streams);
  for (int i = 0; i < 8; ++i) request[8 + i] = static_cast<char>(offset >> (8 * i));
  TRY_WITH(wire::SendAll(socket, std::string_view(request, sizeof request)), "attaching to '{}'",
           path);
  char reply[8];
  TRY_WITH(ReceiveExactly(socket, reply, sizeof reply), "attaching to '{}'", path);
  if (std::string_view(reply, 4) != kMagic) {
    return Internal("attaching to '{}': no answer of the attach protocol", path);
  }
  uint32_t refused = 0;
  for (int i = 0; i < 4; ++i) {
    refused |= static_cast<uint32_t>(static_cast<unsigned char>(reply[4 + i])) << (8 * i);
  }
  if (refused != 0) {
    return ErrnoErrorOf(static_cast<int>(refused), fmt::format("attaching to '{}'", path));
  }
  return socket;
}

Result<> AttachToContainer(Engine& engine, EventLoop& loop, std::shared_ptr<Container> container,
                           AttachRequest request) {
  Container::RecordPointer record = container->record();
  auto waiting = std::make_shared<Waiting>(loop);
  wire::RelayOptions options;
  options.client = std::move(request.client);
  options.received = std::move(request.received);
  options.form =
      request.form.value_or(record->config.tty ? wire::RelayForm::kRaw : wire::RelayForm::kFrames);
  options.wants_stdin = (request.streams & kAttachStdin) != 0 && record->config.open_stdin;
  options.detach_keys = record->config.tty ? request.detach_keys : std::string();
  options.ended = [&engine, waiting, container](wire::RelayEnd how, UniqueFd client) {
    container->CancelAttach(waiting->number);
    container->CancelWait(waiting->removal);
    waiting->joined = true;
    container->EndShow();
    if (how == wire::RelayEnd::kProcess && waiting->run != 0) {
      return waiting->farewell->Hold(std::move(client));
    }
    container->CancelWait(waiting->run);
    if (how != wire::RelayEnd::kDetached) return;
    // Who sees the end of the stream finds the event.
    auto held = std::make_shared<UniqueFd>(std::move(client));
    engine.workers().Run([&engine, container, held] {
      engine.Publish("detach", *container->record());
      held->Reset();
    });
  };
  container->BeginShow();
  waiting->relay = wire::Relay::Start(loop, std::move(options));
  uint8_t streams = request.streams;
  if (request.process.valid()) {
    waiting->joined = true;
    FollowRun(*container, *waiting);
    waiting->relay->Connect(std::move(request.process));
    return {};
  }
  if (record->state.IsAlive()) {
    engine.workers().Run(
        [container, waiting, streams, path = engine.AttachSocket(record->id, "init")] {
          Join(*container, *waiting, path, streams, kFromNowOn);
        });
    return {};
  }
  waiting->number = container->AddAttach([container, waiting, streams](Result<std::string> socket) {
    Join(*container, *waiting, std::move(socket), streams, 0);
  });
  waiting->removal = container->Wait(WaitCondition::kRemoved, [waiting](const WaitResult&) {
    if (!waiting->joined) waiting->relay->Close();
  });
  // It may have ended before there was a number to cancel.
  if (waiting->joined) container->CancelWait(waiting->removal);
  return {};
}

Result<std::string> ParseDetachKeys(std::string_view text) {
  if (text.empty()) return std::string("\x10\x11");
  std::string out;
  while (!text.empty()) {
    std::string_view key = text.substr(0, text.find(','));
    text.remove_prefix(std::min(text.size(), key.size() + 1));
    if (key.size() == 1) {
      out.push_back(key[0]);
      continue;
    }
    if (key.size() == 6 && key.starts_with("ctrl-")) {
      char letter = key[5];
      bool capital = letter >= 'A' && letter <= 'Z';
      if ((letter >= 'a' && letter <= 'z') || (letter >= '@' && letter <= '_' && !capital)) {
        out.push_back(static_cast<char>(letter & 0x1f));
        continue;
      }
    }
    return InvalidArgument("Unknown character: '{}'", key);
  }
  return out;
}

}  // namespace gantry::engine
