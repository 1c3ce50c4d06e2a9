// SPDX-License-Identifier: Apache-2.0
#include "wire/socket_activation.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <charconv>
#include <cstdlib>
#include <string>

namespace gantry::wire {
namespace {

constexpr int kFirst = 3;  // SD_LISTEN_FDS_START
constexpr int kMost = 1024;

int NumberOf(const char* text) {
  if (text == nullptr) return -1;
  std::string_view view(text);
  int number = -1;
  auto [end, error] = std::from_chars(view.data(), view.data() + view.size(), number);
  return error == std::errc() && end == view.data() + view.size() ? number : -1;
}

Result<UniqueFd> Take(int number) {
  int listens = 0;
  socklen_t size = sizeof listens;
  if (::getsockopt(number, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) < 0 || listens == 0) {
    return InvalidArgument("descriptor {} is no listening socket", number);
  }
  if (::fcntl(number, F_SETFD, FD_CLOEXEC) < 0 || ::fcntl(number, F_SETFL, O_NONBLOCK) < 0) {
    return ErrnoError("taking over descriptor {}", number);
  }
  return UniqueFd(number);
}

}  // namespace

int CountActivatedSockets() {
  const char* pid = ::getenv("LISTEN_PID");
  bool mine = pid != nullptr && (pid == kInheritedListenPid || NumberOf(pid) == ::getpid());
  int count = NumberOf(::getenv("LISTEN_FDS"));
  return mine && count > 0 && count <= kMost ? count : 0;
}

Result<std::vector<UniqueFd>> TakeActivatedSockets(std::string_view which) {
  int count = CountActivatedSockets();
  if (count == 0) {
    return NotFound(
        "no sockets found via socket activation: make sure the service was started by "
        "systemd");
  }
  std::vector<UniqueFd> out;
  if (which.empty() || which == "*") {
    for (int number = kFirst; number < kFirst + count; ++number) out.push_back(TRY(Take(number)));
    return out;
  }
  int number = NumberOf(std::string(which).c_str());
  if (number < kFirst || number >= kFirst + count) {
    return InvalidArgument("fd://{}: the service manager passed descriptors {} to {}", which,
                           kFirst, kFirst + count - 1);
  }
  out.push_back(TRY(Take(number)));
  return out;
}

}  // namespace gantry::wire
