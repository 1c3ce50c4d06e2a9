// SPDX-License-Identifier: Apache-2.0
#include "kernel/pty.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/io.h"

namespace gantry::kernel {

Result<Pty> OpenPty(UniqueFd multiplexer) {
  Pty pty;
  pty.master = std::move(multiplexer);
  int locked = 0;
  if (::ioctl(pty.master.get(), TIOCSPTLCK, &locked) < 0) return ErrnoError("unlocking a terminal");
  if (::ioctl(pty.master.get(), TIOCGPTN, &pty.number) < 0) {
    return ErrnoError("numbering a terminal");
  }
  pty.slave = UniqueFd(::ioctl(pty.master.get(), TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!pty.slave.valid()) return ErrnoError("opening a terminal's other end");
  return pty;
}

Result<> SetWindowSize(BorrowedFd terminal, uint32_t rows, uint32_t columns) {
  winsize size{};
  size.ws_row = static_cast<unsigned short>(rows);
  size.ws_col = static_cast<unsigned short>(columns);
  if (::ioctl(terminal.get(), TIOCSWINSZ, &size) < 0) return ErrnoError("resizing a terminal");
  return {};
}

Result<> MakeControllingTerminal(BorrowedFd slave) {
  if (::ioctl(slave.get(), TIOCSCTTY, 0) < 0) return ErrnoError("taking a controlling terminal");
  return {};
}

Result<UniqueFd> ConnectUnix(const std::string& path) {
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket.valid()) return ErrnoError("making a socket");
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::string name = path;
  UniqueFd by_descriptor;
  if (name.size() >= sizeof address.sun_path) {
    by_descriptor = TRY(OpenFile(path, O_PATH));
    name = fmt::format("/proc/self/fd/{}", by_descriptor.get());
  }
  ::memcpy(address.sun_path, name.data(), name.size());
  if (::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) < 0) {
    return ErrnoError("connecting to '{}'", path);
  }
  return socket;
}

Result<> SendDescriptor(BorrowedFd socket, BorrowedFd descriptor, std::string_view data) {
  iovec part{const_cast<char*>(data.data()), data.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  int fd = descriptor.get();
  ::memcpy(CMSG_DATA(header), &fd, sizeof fd);
  if (::sendmsg(socket.get(), &message, MSG_NOSIGNAL) < 0) {
    return ErrnoError("sending a descriptor");
  }
  return {};
}

Result<UniqueFd> ReceiveDescriptor(BorrowedFd socket) {
  char data[4096];
  iovec part{data, sizeof data};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t got;
  do {
    got = ::recvmsg(socket.get(), &message, MSG_CMSG_CLOEXEC);
  } while (got < 0 && errno == EINTR);
  if (got < 0) return ErrnoError("receiving a descriptor");
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (header == nullptr || header->cmsg_type != SCM_RIGHTS ||
      header->cmsg_len != CMSG_LEN(sizeof(int))) {
    return FailedPrecondition("receiving a descriptor: the peer sent none");
  }
  int fd = -1;
  ::memcpy(&fd, CMSG_DATA(header), sizeof fd);
  return UniqueFd(fd);
}

}  // namespace gantry::kernel
