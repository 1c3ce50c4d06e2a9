// SPDX-License-Identifier: Apache-2.0
#include "engine/api/attach_handlers.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cerrno>
#include <chrono>
#include <optional>
#include <thread>
#include <utility>

#include "engine/api/hijack.h"
#include "engine/api/websocket.h"
#include "wire/socket_io.h"

namespace gantry::engine::api {
namespace {

constexpr size_t kReplayPiece = size_t{64} << 10;
// How often the log is read on when it did not reach as far as the shim's memory goes back.
constexpr int kJoinAttempts = 50;

// What both forms of attach ask for.
struct Wanted {
  std::shared_ptr<Container> container;
  Container::RecordPointer record;
  uint8_t streams = 0;
  std::string detach_keys;
  bool logs = false;
  bool stream = false;
};

Result<Wanted> ReadWanted(Call& call, uint8_t default_streams) {
  Wanted wanted;
  wanted.container = TRY(call.engine().Find(call.arg()));
  const wire::Query& query = call.query();
  Result<std::string> keys = ParseDetachKeys(query.Get("detachKeys"));
  if (!keys.ok()) {
    return InvalidArgument("Invalid detach keys ({}) provided", query.Get("detachKeys"));
  }
  wanted.detach_keys = *std::move(keys);
  wanted.record = wanted.container->record();
  if (wanted.record->state.phase == Phase::kPaused) {
    return Conflict(
        fmt::format("container {} is paused, unpause the container before attach", call.arg()));
  }
  if (wanted.record->state.phase == Phase::kRestarting) {
    return Conflict(
        fmt::format("container {} is restarting, wait until the container is running", call.arg()));
  }
  wanted.streams = static_cast<uint8_t>((query.GetBool("stdin") ? kAttachStdin : 0) |
                                        (query.GetBool("stdout") ? kAttachStdout : 0) |
                                        (query.GetBool("stderr") ? kAttachStderr : 0));
  if (wanted.streams == 0) wanted.streams = default_streams;
  wanted.logs = query.GetBool("logs") && wanted.record->host.log_config.type != "none";
  wanted.stream = query.GetBool("stream");
  return wanted;
}

// docker's SDK for python reads the answer's head through a buffer and the stream past it: what
// comes together with the head is lost to it. A log is there at once, so it waits until the head
// has been read, which a unix socket tells; for a client that reads nothing, not for long.
void AwaitHeadRead(BorrowedFd client) {
  constexpr std::chrono::microseconds kPause(100);
  constexpr int kPauses = 1000;
  for (int i = 0; i < kPauses; ++i) {
    int unread = 0;
    if (::ioctl(client.get(), SIOCOUTQ, &unread) != 0 || unread == 0) return;
    std::this_thread::sleep_for(kPause);
  }
}

// Sends what is in the log, then joins the process where the log ends: the shim remembers the last
// of the output, so that nothing is missing between the two. Without `stream` only the log is sent.
Result<> SendLogAndJoin(Call& call, const Wanted& wanted, bool framed, AttachRequest* request) {
  const ContainerRecord& record = *wanted.record;
  LogOptions options;
  options.out = (wanted.streams & kAttachStdout) != 0;
  options.err = (wanted.streams & kAttachStderr) != 0;
  options.framed = framed;
  options.count_since = record.state.started_at;
  LogStreamer log = TRY(LogStreamer::Open(call.engine().LogPath(record.id), options));
  AwaitHeadRead(request->client);
  bool joins = wanted.stream && record.state.IsAlive();
  for (int attempt = 0; attempt < kJoinAttempts; ++attempt) {
    for (bool more = true; more;) {
      std::string piece;
      more = TRY(log.Read(kReplayPiece, &piece));
      TRY(wire::SendAll(request->client, piece));
    }
    if (!joins) return {};
    Result<UniqueFd> process = ConnectAttachSocket(call.engine().AttachSocket(record.id, "init"),
                                                   wanted.streams, log.counted());
    if (process.ok()) {
      request->process = *std::move(process);
      return {};
    }
    // Ended meanwhile: the log is all there is. Too far back: more output has come, read on.
    if (process.error().error_number() != ERANGE) return {};
  }
  return {};
}

Result<> Attach(Call& call) {
  Wanted wanted = TRY(ReadWanted(call, 0));
  bool terminal = wanted.record->config.tty;
  // Before the answer: who has it finds the event.
  call.engine().Publish("attach", *wanted.record);
  wire::Exchange::Raw raw = TRY(TakeConnection(call, terminal));
  AttachRequest request;
  request.client = std::move(raw.socket);
  request.received = std::move(raw.received);
  request.streams = wanted.streams;
  request.detach_keys = wanted.detach_keys;
  if (wanted.logs) TRY(SendLogAndJoin(call, wanted, !terminal, &request));
  if (!wanted.stream) return {};
  return AttachToContainer(call.engine(), call.parts.parked, wanted.container, std::move(request));
}

}  // namespace

Result<> AttachContainer(Call& call) {
  Result<> attached = Attach(call);
  if (attached.ok() || call.exchange.begun()) return attached;
  // Who asks for a stream gets its errors as text.
  call.exchange.headers().Set("Content-Type", "application/vnd.docker.raw-stream");
  return call.exchange.Respond(StatusOf(attached.error()), attached.error().message() + "\r\n");
}

Result<> AttachWebSocket(Call& call) {
  Wanted wanted = TRY(ReadWanted(call, kAttachStdin | kAttachStdout | kAttachStderr));
  Result<std::string> accept = AcceptWebSocket(call.exchange.request());
  if (!accept.ok()) return call.exchange.Respond(400, accept.error().message());
  wire::HttpHeaders& headers = call.exchange.headers();
  headers.Set("Connection", "Upgrade");
  headers.Set("Upgrade", "websocket");
  headers.Set("Sec-WebSocket-Accept", *accept);
  call.engine().Publish("attach", *wanted.record);
  wire::Exchange::Raw raw = TRY(call.exchange.Hijack(101));
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0) {
    return ErrnoError("making a pair of sockets");
  }
  AttachRequest request;
  request.client = UniqueFd(ends[0]);
  BridgeWebSocket(call.parts.parked, std::move(raw.socket), std::move(raw.received),
                  UniqueFd(ends[1]));
  request.streams = wanted.streams;
  request.detach_keys = wanted.detach_keys;
  request.form = wire::RelayForm::kRaw;
  if (wanted.logs) TRY(SendLogAndJoin(call, wanted, false, &request));
  if (!wanted.stream) return {};
  return AttachToContainer(call.engine(), call.parts.parked, wanted.container, std::move(request));
}

}  // namespace gantry::engine::api
