// SPDX-License-Identifier: Apache-2.0
#include "wire/listener.h"

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string_view>

#include "base/io.h"

namespace gantry::wire {
namespace {

constexpr int kBacklog = 4096;  // as Go's, and so docker's; net.core.somaxconn bounds it

Result<> RemoveStale(const std::string& path, const sockaddr_un& address) {
  struct stat status{};
  if (::lstat(path.c_str(), &status) < 0) {
    if (errno == ENOENT) return {};
    return ErrnoError("looking at '{}'", path);
  }
  if (!S_ISSOCK(status.st_mode)) return AlreadyExists("'{}' is there and is no socket", path);
  UniqueFd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
    return AlreadyExists("somebody serves '{}' already", path);
  }
  if (::unlink(path.c_str()) < 0) return ErrnoError("removing '{}'", path);
  return {};
}

Result<UniqueFd> ListenUnix(const std::string& path, const std::string& group) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) {
    return InvalidArgument("socket path '{}' is empty or longer than 107 bytes", path);
  }
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  gid_t gid = group.empty() ? static_cast<gid_t>(-1) : TRY(FindGroup(group));
  TRY(RemoveStale(path, address));
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.valid()) return ErrnoError("making a socket");
  // Nobody may connect before mode and group are right: bind makes it with this mode.
  if (::fchmod(socket.get(), 0660) < 0) return ErrnoError("setting the mode of '{}'", path);
  if (::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) < 0) {
    return ErrnoError("binding '{}'", path);
  }
  if (::chmod(path.c_str(), 0660) < 0) return ErrnoError("setting the mode of '{}'", path);
  if (gid != static_cast<gid_t>(-1) && ::chown(path.c_str(), static_cast<uid_t>(-1), gid) < 0) {
    return ErrnoError("giving '{}' to group '{}'", path, group);
  }
  if (::listen(socket.get(), kBacklog) < 0) return ErrnoError("listening on '{}'", path);
  return socket;
}

Result<UniqueFd> ListenTcp(const std::string& host_port) {
  size_t colon = host_port.rfind(':');
  if (colon == std::string::npos) return InvalidArgument("'{}' has no port", host_port);
  std::string host = host_port.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV;
  if (host == "localhost") host = "127.0.0.1";
  addrinfo* found = nullptr;
  int failed = ::getaddrinfo(host.empty() ? nullptr : host.c_str(),
                             host_port.substr(colon + 1).c_str(), &hints, &found);
  if (failed != 0) {
    return InvalidArgument("'{}' is no numeric address with a port: {}", host_port,
                           ::gai_strerror(failed));
  }
  std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owned(found, &::freeaddrinfo);
  UniqueFd socket(::socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.valid()) return ErrnoError("making a socket");
  int on = 1;
  (void)::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (::bind(socket.get(), found->ai_addr, found->ai_addrlen) < 0) {
    return ErrnoError("binding '{}'", host_port);
  }
  if (::listen(socket.get(), kBacklog) < 0) return ErrnoError("listening on '{}'", host_port);
  return socket;
}

}  // namespace

// Of /etc/group alone: NSS would load libraries.
Result<gid_t> FindGroup(const std::string& group) {
  std::string text = TRY(ReadFile("/etc/group", size_t{4} << 20));
  std::string_view rest = text;
  while (!rest.empty()) {
    std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    if (!line.starts_with(group + ":")) continue;
    size_t second = line.find(':', group.size() + 1);
    if (second == std::string_view::npos) continue;
    return static_cast<gid_t>(
        std::strtoul(std::string(line.substr(second + 1)).c_str(), nullptr, 10));
  }
  gid_t number = 0;
  auto [end, error] = std::from_chars(group.data(), group.data() + group.size(), number);
  if (error != std::errc() || end != group.data() + group.size()) {
    return NotFound("group {} not found", group);
  }
  return number;
}

Result<UniqueFd> OpenListener(const std::string& url, const std::string& group) {
  if (url.starts_with("unix://")) return ListenUnix(url.substr(7), group);
  if (url.starts_with("tcp://")) return ListenTcp(url.substr(6));
  return InvalidArgument("listening on '{}': expected unix://PATH or tcp://HOST:PORT", url);
}

}  // namespace gantry::wire
