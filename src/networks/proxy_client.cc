// SPDX-License-Identifier: Apache-2.0
#include "networks/proxy_client.h"

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/io.h"
#include "kernel/spawn.h"

namespace gantry::networks {
namespace {

// The proxy answers within a millisecond; this bounds the wait for one that hangs.
constexpr timeval kAnswerTimeout{10, 0};
constexpr size_t kIdleConnections = 4;
constexpr int kAlreadyRunning = 3;  // gantry-proxy's exit code

}  // namespace

ProxyClient::ProxyClient(std::string run_directory, std::string binary)
    : run_directory_(std::move(run_directory)),
      socket_(run_directory_ + "/proxy.sock"),
      binary_(std::move(binary)) {}

Result<UniqueFd> ProxyClient::Connect() {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket_.size() >= sizeof address.sun_path) {
    return InvalidArgument("socket path '{}' is longer than {} bytes", socket_,
                           sizeof address.sun_path - 1);
  }
  std::memcpy(address.sun_path, socket_.data(), socket_.size());
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return ErrnoError("opening a socket");
  (void)::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &kAnswerTimeout, sizeof kAnswerTimeout);
  (void)::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &kAnswerTimeout, sizeof kAnswerTimeout);
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) < 0) {
    Error error = ErrnoError("connecting to gantry-proxy at '{}'", socket_);
    error.SetKind(ErrorKind::kUnavailable);
    return error;
  }
  return fd;
}

namespace {

// Descriptors go with the first byte that is sent.
Result<size_t> SendWith(BorrowedFd connection, std::string_view data,
                        const std::vector<BorrowedFd>& descriptors) {
  iovec part{const_cast<char*>(data.data()), data.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  std::vector<int> numbers;
  for (BorrowedFd fd : descriptors) numbers.push_back(fd.get());
  std::vector<char> control(CMSG_SPACE(numbers.size() * sizeof(int)));
  if (!numbers.empty()) {
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(numbers.size() * sizeof(int));
    std::memcpy(CMSG_DATA(header), numbers.data(), numbers.size() * sizeof(int));
  }
  for (;;) {
    ssize_t count = ::sendmsg(connection.get(), &message, MSG_NOSIGNAL);
    if (count >= 0) return static_cast<size_t>(count);
    if (errno != EINTR) return ErrnoError("sending to gantry-proxy");
  }
}

}  // namespace

Result<std::vector<formats::ProxyReply>> ProxyClient::CallOn(
    BorrowedFd connection, const std::string& messages, size_t count,
    const std::vector<BorrowedFd>& descriptors) {
  size_t sent = TRY(SendWith(connection, messages, descriptors));
  while (sent < messages.size()) {
    sent += TRY(SendWith(connection, std::string_view(messages).substr(sent), {}));
  }
  std::vector<formats::ProxyReply> replies;
  while (replies.size() < count) {
    char start[4];
    TRY_WITH(ReadExactly(connection, start, sizeof start), "reading gantry-proxy's answer");
    std::string body(TRY(formats::ProxyMessageSize({start, sizeof start})), '\0');
    TRY_WITH(ReadExactly(connection, body.data(), body.size()), "reading gantry-proxy's answer");
    replies.push_back(TRY(formats::DecodeProxyReply(body)));
  }
  return replies;
}

Result<formats::ProxyReply> ProxyClient::Call(const formats::ProxyRequest& request) {
  return std::move(TRY(CallAll({request}, {})).front());
}

Result<std::vector<formats::ProxyReply>> ProxyClient::CallAll(
    const std::vector<formats::ProxyRequest>& requests,
    const std::vector<BorrowedFd>& descriptors) {
  std::string messages;
  for (const formats::ProxyRequest& request : requests) {
    messages += formats::EncodeProxyRequest(request);
  }
  for (;;) {
    UniqueFd connection;
    {
      MutexLock lock(mutex_);
      if (!idle_.empty()) {
        connection = std::move(idle_.back());
        idle_.pop_back();
      }
    }
    // An idle connection may be of a proxy that has ended since: then the next one is tried, and a
    // new one last. Asking twice is harmless, a set is the same set.
    bool is_new = !connection.valid();
    if (is_new) connection = TRY(Connect());
    auto replies = CallOn(connection, messages, requests.size(), descriptors);
    if (!replies.ok()) {
      if (!is_new) continue;
      replies.error().SetKind(ErrorKind::kUnavailable);
      return replies;
    }
    MutexLock lock(mutex_);
    if (idle_.size() < kIdleConnections) idle_.push_back(std::move(connection));
    return replies;
  }
}

bool ProxyClient::IsRunning() { return Connect().ok(); }

Result<UniqueFd> ProxyClient::Watch() { return Connect(); }

Result<bool> ProxyClient::EnsureRunning() {
  MutexLock lock(start_mutex_);
  if (IsRunning()) return false;
  TRY(MakeDirectories(run_directory_, 0700));
  kernel::SpawnOptions options;
  options.program = binary_;
  options.args = {"gantry-proxy", "--background",
                  "--socket",     socket_,
                  "--pid-file",   run_directory_ + "/gantry-proxy.pid",
                  "--log",        run_directory_ + "/gantry-proxy.log"};
  options.fds = {{STDERR_FILENO, STDERR_FILENO}};
  kernel::ExitStatus status = TRY_WITH(kernel::SpawnAndWait(options), "starting '{}'", binary_);
  if (status.ShellCode() == kAlreadyRunning) {
    // Somebody else's, or ours that is just ending.
    return Unavailable("starting gantry-proxy: one is running that does not answer at '{}'",
                       socket_);
  }
  if (status.ShellCode() != 0) {
    return Unavailable("starting gantry-proxy: it ended with code {}", status.ShellCode());
  }
  return true;
}

namespace {

formats::ProxyListener ListenerFor(Protocol protocol, const std::string& address, uint16_t first,
                                   uint16_t last, const std::string& target, uint16_t target_port) {
  return {std::string(ProtocolName(protocol)), {address}, first, last, target, target_port};
}

bool IsIpv6Text(const std::string& address) { return address.find(':') != std::string::npos; }

// The addresses that a wish is bound to.
std::vector<std::string> AddressesFor(const std::string& host_ip, BoundFamilies families) {
  std::vector<std::string> addresses;
  if (host_ip.empty() && families.ipv4) addresses.emplace_back("0.0.0.0");
  if (host_ip.empty() && families.ipv6) addresses.emplace_back("::");
  bool wanted = IsIpv6Text(host_ip) ? families.ipv6 : families.ipv4;
  if (!host_ip.empty() && wanted) addresses.push_back(host_ip);
  return addresses;
}

}  // namespace

std::string ProxyTarget(const Endpoint& endpoint) {
  if (endpoint.has_ipv4() || !endpoint.address6) return endpoint.address.ToString();
  return endpoint.address6->ToString();
}

std::vector<formats::ProxyListener> ListenersFor(const std::vector<PublishedPort>& ports,
                                                 const std::string& target) {
  std::vector<formats::ProxyListener> listeners;
  for (const PublishedPort& port : ports) {
    if (port.host_port == 0) continue;
    auto next = ListenerFor(port.protocol, port.host_ip, port.host_port, port.host_port, target,
                            port.container_port);
    // One wish for both families is one listener with two addresses, as it was at first.
    if (port.host_ip == "::" && !listeners.empty()) {
      formats::ProxyListener both = next;
      both.addresses = {"0.0.0.0"};
      if (listeners.back() == both) {
        listeners.back().addresses.push_back("::");
        continue;
      }
    }
    listeners.push_back(std::move(next));
  }
  return listeners;
}

std::vector<formats::ProxyListener> ListenersFor(const std::vector<PortRequest>& ports,
                                                 const std::string& target, BoundFamilies bound) {
  std::vector<formats::ProxyListener> listeners;
  for (const PortRequest& port : ports) {
    std::vector<std::string> addresses = AddressesFor(port.host_ip, bound);
    // A host without IPv6 says so itself when one of its addresses is asked for.
    if (bound.no_ipv6 && IsIpv6Text(port.host_ip)) addresses = {port.host_ip};
    if (addresses.empty()) continue;
    uint16_t last = std::max(port.host_port_first, port.host_port_last);
    listeners.push_back(
        ListenerFor(port.protocol, "", port.host_port_first, last, target, port.container_port));
    listeners.back().addresses = std::move(addresses);
  }
  return listeners;
}

std::vector<PublishedPort> RoutedPorts(const std::vector<PortRequest>& ports,
                                       BoundFamilies routed) {
  std::vector<PublishedPort> published;
  for (const PortRequest& port : ports) {
    for (const std::string& address : AddressesFor(port.host_ip, routed)) {
      published.push_back({address, 0, port.container_port, port.protocol});
    }
  }
  return published;
}

std::vector<PublishedPort> PublishedBy(const std::vector<formats::ProxyListener>& listeners,
                                       const std::vector<uint16_t>& ports) {
  CHECK(listeners.size() == ports.size());
  std::vector<PublishedPort> published;
  for (size_t i = 0; i < listeners.size(); ++i) {
    for (const std::string& address : listeners[i].addresses) {
      // gantry-proxy was told so by us.
      Protocol protocol = *ParseProtocol(listeners[i].protocol);
      published.push_back({address, ports[i], listeners[i].target_port, protocol});
    }
  }
  return published;
}

Error BindError(const formats::ProxyFailure& failure,
                const std::vector<formats::ProxyListener>& listeners) {
  bool is_v6 = failure.address.find(':') != std::string::npos;
  std::string where = is_v6 ? fmt::format("[{}]:{}", failure.address, failure.port)
                            : fmt::format("{}:{}", failure.address, failure.port);
  if (!failure.holder.empty()) {
    return AlreadyExists("Bind for {} failed: port is already allocated", where);
  }
  std::string protocol =
      failure.listener < listeners.size() ? listeners[failure.listener].protocol : "tcp";
  ErrorKind kind = failure.error_number == EADDRINUSE ? ErrorKind::kAlreadyExists
                   : failure.error_number == 0        ? ErrorKind::kInvalidArgument
                                                      : KindOfErrno(failure.error_number);
  return Error(kind,
               fmt::format("Error starting userland proxy: listen {}{} {}: {}", protocol,
                           is_v6 ? "6" : "4", where, failure.message),
               failure.error_number);
}

}  // namespace gantry::networks
