// SPDX-License-Identifier: Apache-2.0
#include "runtime/net_devices.h"

#include <fcntl.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <sched.h>

#include "base/io.h"
#include "kernel/link_move.h"
#include "kernel/netlink.h"

namespace gantry::runtime {
namespace {

// As the kernel's dev_valid_name, with one "%d" allowed in a template.
Result<> CheckName(const std::string& name, std::string_view what) {
  size_t percent = name.find('%');
  bool plain = percent == std::string::npos || (name.compare(percent, 2, "%d") == 0 &&
                                                name.find('%', percent + 1) == std::string::npos);
  bool odd = name.find_first_of(std::string_view("/: \t\n\v\f\r\0", 9)) != std::string::npos;
  if (name.empty() || name.size() >= IFNAMSIZ || name == "." || name == ".." || odd || !plain) {
    return InvalidArgument("{}: '{}' is no name of a network interface", what, name);
  }
  return {};
}

UniqueFd TargetNamespace(const child::CreatePlan& plan) {
  for (const child::CreatePlan::Join& join : plan.joins) {
    if (join.type == CLONE_NEWNET) return UniqueFd(::fcntl(join.fd.get(), F_DUPFD_CLOEXEC, 3));
  }
  return UniqueFd();
}

// A socket belongs to the namespace that it was opened in: in and out again.
Result<kernel::NetlinkSocket> RouteSocketIn(BorrowedFd netns) {
  UniqueFd ours = TRY(OpenFile("/proc/self/ns/net", O_RDONLY));
  if (::setns(netns.get(), CLONE_NEWNET) < 0) return ErrnoError("joining a network namespace");
  Result<kernel::NetlinkSocket> socket = kernel::NetlinkSocket::Open(NETLINK_ROUTE);
  if (::setns(ours.get(), CLONE_NEWNET) < 0) return ErrnoError("going back from a namespace");
  return socket;
}

}  // namespace

Result<> CheckNetDevices(const oci::LinuxPlatform& platform) {
  if (platform.net_devices.empty()) return {};
  bool own = false;
  for (const oci::Namespace& ns : platform.namespaces) own |= ns.type == "network";
  if (!own) return InvalidArgument("linux.netDevices: needs a network namespace");
  for (const auto& [name, device] : platform.net_devices) {
    TRY(CheckName(name, "linux.netDevices"));
    if (!device.name.empty()) {
      TRY(CheckName(device.name, fmt::format("linux.netDevices['{}'].name", name)));
    }
  }
  return {};
}

Result<> MoveNetDevices(const oci::LinuxPlatform& platform, const child::CreatePlan& plan,
                        pid_t child) {
  if (platform.net_devices.empty()) return {};
  UniqueFd netns = TargetNamespace(plan);
  if (!netns.valid()) netns = TRY(OpenFile(fmt::format("/proc/{}/ns/net", child), O_RDONLY));
  kernel::NetlinkSocket here = TRY(kernel::NetlinkSocket::Open(NETLINK_ROUTE));
  kernel::NetlinkSocket there = TRY(RouteSocketIn(netns));
  for (const auto& [name, device] : platform.net_devices) {
    kernel::LinkMove move{name, device.name.empty() ? name : device.name};
    TRY_WITH(kernel::MoveLink(&here, &there, netns, move), "linux.netDevices['{}']", name);
  }
  return {};
}

}  // namespace gantry::runtime
