// SPDX-License-Identifier: Apache-2.0
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "formats/launch_message.h"
#include "runtime/child/plan.h"

namespace gantry::runtime::child {
namespace {

constexpr size_t kMaxMessage = formats::kMaxLaunchMessageBytes;

using formats::LaunchHead;

Result<size_t> Receive(BorrowedFd channel, char* buffer) {
  for (;;) {
    ssize_t got = ::recv(channel.get(), buffer, kMaxMessage, 0);
    if (got >= 0) return static_cast<size_t>(got);
    if (errno == ECONNRESET) return size_t{0};
    if (errno != EINTR) return ErrnoError("receiving from the other side");
  }
}

Result<> Send(BorrowedFd channel, LaunchHead head, std::string_view text) {
  char buffer[kMaxMessage];
  ::memcpy(buffer, &head, sizeof head);
  size_t size = std::min(text.size(), sizeof buffer - sizeof head);
  ::memcpy(buffer + sizeof head, text.data(), size);
  if (::send(channel.get(), buffer, sizeof head + size, MSG_NOSIGNAL) < 0) {
    return ErrnoError("sending to the other side");
  }
  return {};
}

}  // namespace

Result<> SendMessage(BorrowedFd channel, Message message) {
  return Send(channel, {static_cast<uint8_t>(message), 0, 0}, "");
}

Result<> SendFailure(BorrowedFd channel, const Error& error) {
  return Send(channel,
              {static_cast<uint8_t>(Message::kError), static_cast<uint8_t>(error.kind()),
               error.error_number()},
              error.message());
}

Result<Received> ReceiveMessage(BorrowedFd channel) {
  char buffer[kMaxMessage];
  size_t size = TRY(Receive(channel, buffer));
  if (size < sizeof(LaunchHead)) return Received::kEnd;
  LaunchHead head;
  ::memcpy(&head, buffer, sizeof head);
  switch (static_cast<Message>(head.type)) {
    case Message::kHooks:
      return Received::kHooks;
    case Message::kReady:
      return Received::kReady;
    case Message::kError:
      return formats::LaunchError({buffer, size});
    case Message::kGo:
      break;
  }
  return Internal("receiving from the container's process: unexpected message");
}

Result<> AwaitGo(BorrowedFd channel) {
  char buffer[kMaxMessage];
  if (TRY(Receive(channel, buffer)) < sizeof(LaunchHead)) {
    return MakeError(ErrorKind::kCancelled, "the runtime has ended");
  }
  return {};
}

}  // namespace gantry::runtime::child
