// SPDX-License-Identifier: Apache-2.0
//
// Talks to gantry-proxy and starts it when nobody answers. Any thread; calls run side by side, each
// on a connection of its own that is kept for the next one.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "base/mutex.h"
#include "base/unique_fd.h"
#include "formats/proxy_message.h"
#include "networks/networks.h"

namespace gantry::networks {

class ProxyClient {
 public:
  // RUN/proxy.sock, RUN/gantry-proxy.pid, RUN/gantry-proxy.log.
  ProxyClient(std::string run_directory, std::string binary);

  // kUnavailable when nobody answers; a refusal is a reply with `failure`.
  Result<formats::ProxyReply> Call(const formats::ProxyRequest& request);
  // Several at once, which are answered one after the other; descriptors go with the first.
  Result<std::vector<formats::ProxyReply>> CallAll(
      const std::vector<formats::ProxyRequest>& requests,
      const std::vector<BorrowedFd>& descriptors);
  // Starts a proxy unless one answers; true if it was started, and so knows of no port.
  Result<bool> EnsureRunning();
  bool IsRunning();
  // A connection that hangs up when the proxy ends.
  Result<UniqueFd> Watch();

 private:
  Result<UniqueFd> Connect();
  static Result<std::vector<formats::ProxyReply>> CallOn(
      BorrowedFd connection, const std::string& messages, size_t count,
      const std::vector<BorrowedFd>& descriptors);

  std::string run_directory_;
  std::string socket_;
  std::string binary_;
  Mutex start_mutex_;  // held while a proxy starts: only one does
  Mutex mutex_;
  std::vector<UniqueFd> idle_ GUARDED_BY(mutex_);
};

// Where the proxy leads an endpoint's packets: to its IPv4 address, or to its only one.
std::string ProxyTarget(const Endpoint& endpoint);

// At which of the host's addresses ports without one are bound.
struct BoundFamilies {
  bool ipv4 = true;
  bool ipv6 = true;
  bool no_ipv6 = false;  // the host has none; `ipv6` is false, too
};
// The listeners of published ports, or of wishes: what the proxy is told. Ports that have none on
// the host (of routed networks) have no listener.
std::vector<formats::ProxyListener> ListenersFor(const std::vector<PublishedPort>& ports,
                                                 const std::string& target);
std::vector<formats::ProxyListener> ListenersFor(const std::vector<PortRequest>& ports,
                                                 const std::string& target, BoundFamilies bound);
// What wishes are on networks where containers are reached at their own addresses, in the families
// that are routed: no port of the host.
std::vector<PublishedPort> RoutedPorts(const std::vector<PortRequest>& ports, BoundFamilies routed);
// What was published by a kSet of `listeners` that was answered with `ports`.
std::vector<PublishedPort> PublishedBy(const std::vector<formats::ProxyListener>& listeners,
                                       const std::vector<uint16_t>& ports);
// docker's words for a port that can't be had.
Error BindError(const formats::ProxyFailure& failure,
                const std::vector<formats::ProxyListener>& listeners);

}  // namespace gantry::networks
