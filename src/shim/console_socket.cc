// SPDX-License-Identifier: Apache-2.0
#include "shim/console_socket.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

#include "base/io.h"
#include "base/random.h"

namespace gantry::shim {
namespace {

// The bytes are in the socket already; the bound is for a runtime that lies.
constexpr int kReceiveTimeoutMs = 2000;

Result<> WaitReadable(BorrowedFd fd) {
  pollfd poll{fd.get(), POLLIN, 0};
  int ready = ::poll(&poll, 1, kReceiveTimeoutMs);
  if (ready < 0) return ErrnoError("waiting for the terminal");
  if (ready == 0) return FailedPrecondition("waiting for the terminal: the runtime sent none");
  return {};
}

// One descriptor by SCM_RIGHTS; the bytes beside it (the terminal's name) are not used.
Result<UniqueFd> ReceiveDescriptor(BorrowedFd socket) {
  char name[4096];
  iovec part{name, sizeof name};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  if (::recvmsg(socket.get(), &message, MSG_CMSG_CLOEXEC) < 0) {
    return ErrnoError("receiving the terminal");
  }
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (header == nullptr || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS ||
      header->cmsg_len != CMSG_LEN(sizeof(int))) {
    return FailedPrecondition("receiving the terminal: the runtime sent no descriptor");
  }
  int fd = -1;
  std::memcpy(&fd, CMSG_DATA(header), sizeof fd);
  return UniqueFd(fd);
}

}  // namespace

Result<ConsoleSocket> ConsoleSocket::Create(const std::string& bundle) {
  UniqueFd directory = TRY(OpenFile(bundle, O_PATH | O_DIRECTORY));
  std::string name = "console-" + RandomHex(8);
  std::string path = fmt::format("/proc/self/fd/{}/{}", directory.get(), name);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  UniqueFd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!listener.valid()) return ErrnoError("making a socket");
  if (::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) < 0) {
    return ErrnoError("making console socket '{}/{}'", bundle, name);
  }
  ConsoleSocket socket(std::move(directory), std::move(name), std::move(listener));
  if (::listen(socket.listener_.get(), 1) < 0) {
    return ErrnoError("listening on console socket '{}/{}'", bundle, socket.name_);
  }
  return socket;
}

ConsoleSocket::~ConsoleSocket() {
  if (listener_.valid()) ::unlinkat(bundle_.get(), name_.c_str(), 0);
}

Result<UniqueFd> ConsoleSocket::Receive() {
  TRY(WaitReadable(listener_));
  UniqueFd connection(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!connection.valid()) return ErrnoError("accepting the runtime's console connection");
  TRY(WaitReadable(connection));
  return ReceiveDescriptor(connection);
}

}  // namespace gantry::shim
