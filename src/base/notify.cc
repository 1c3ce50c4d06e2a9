// SPDX-License-Identifier: Apache-2.0
#include "base/notify.h"

#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstdlib>

#include "base/unique_fd.h"

namespace gantry {

Result<> NotifyServiceManager(std::string_view state) {
  const char* path = std::getenv("NOTIFY_SOCKET");
  if (path == nullptr || *path == '\0') return {};
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  size_t length = strlen(path);
  if ((path[0] != '/' && path[0] != '@') || length >= sizeof address.sun_path) {
    return InvalidArgument("NOTIFY_SOCKET '{}' is no address of a unix socket", path);
  }
  memcpy(address.sun_path, path, length);
  // "@name" is an abstract socket: its first byte is zero, and it has no terminator.
  if (path[0] == '@') address.sun_path[0] = '\0';
  UniqueFd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return ErrnoError("making a socket");
  auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + length);
  ssize_t sent = ::sendto(fd.get(), state.data(), state.size(), MSG_NOSIGNAL,
                          reinterpret_cast<const sockaddr*>(&address), size);
  if (sent < 0) return ErrnoError("telling the service manager at '{}'", path);
  return {};
}

}  // namespace gantry
