// SPDX-License-Identifier: Apache-2.0
#include "kernel/port_holder.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/unique_fd.h"

namespace gantry::kernel {
namespace {

// A socket on a free port of the loopback.
UniqueFd Bound(int family, int type, uint16_t* port) {
  UniqueFd fd(::socket(family, type | SOCK_CLOEXEC, 0));
  sockaddr_in6 address{};
  address.sin6_family = static_cast<sa_family_t>(family);
  address.sin6_addr = family == AF_INET6 ? in6addr_loopback : in6_addr{};
  socklen_t size = family == AF_INET6 ? sizeof address : sizeof(sockaddr_in);
  if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), size) < 0) return UniqueFd();
  if (type == SOCK_STREAM) EXPECT_EQ(::listen(fd.get(), 1), 0);
  EXPECT_EQ(::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  *port = ntohs(address.sin6_port);
  return fd;
}

TEST(PortHolderTest, FindsThisProgram) {
  for (int family : {AF_INET, AF_INET6}) {
    for (PortKind kind : {PortKind::kTcp, PortKind::kUdp}) {
      uint16_t port = 0;
      UniqueFd fd = Bound(family, kind == PortKind::kTcp ? SOCK_STREAM : SOCK_DGRAM, &port);
      if (!fd.valid()) continue;  // a host without IPv6
      auto holder = FindPortHolder(kind, port);
      ASSERT_TRUE(holder.has_value());
      EXPECT_EQ(holder->pid, ::getpid());
      EXPECT_FALSE(holder->program.empty());
      fd.Reset();
      EXPECT_FALSE(FindPortHolder(kind, port).has_value());
    }
  }
}

}  // namespace
}  // namespace gantry::kernel
