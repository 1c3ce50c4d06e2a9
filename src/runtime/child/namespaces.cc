// SPDX-License-Identifier: Apache-2.0
#include "runtime/child/namespaces.h"

#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "base/io.h"

namespace gantry::runtime::child {
namespace {

Result<> CheckSysctl(const std::string& key, const oci::LinuxPlatform& platform) {
  auto needs = [&](std::string_view type) -> Result<> {
    if (HasNamespace(platform, type)) return {};
    return InvalidArgument("sysctl '{}' needs a {} namespace of its own", key, type);
  };
  if (key.starts_with("net.")) return needs("network");
  if (key.starts_with("fs.mqueue.")) return needs("ipc");
  for (std::string_view ipc :
       {"kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall",
        "kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced", "kernel.msg_next_id",
        "kernel.sem_next_id", "kernel.shm_next_id"}) {
    if (key == ipc) return needs("ipc");
  }
  if (key == "kernel.domainname" || key == "kernel.hostname") return needs("uts");
  return InvalidArgument("sysctl '{}' is not in a separate kernel namespace", key);
}

}  // namespace

bool HasNamespace(const oci::LinuxPlatform& platform, std::string_view type) {
  return std::any_of(platform.namespaces.begin(), platform.namespaces.end(),
                     [&](const oci::Namespace& ns) { return ns.type == type; });
}

Result<> SetHostName(const oci::Spec& spec) {
  if (!spec.hostname.empty()) {
    if (!HasNamespace(spec.platform, "uts")) {
      return InvalidArgument("hostname: needs a uts namespace");
    }
    if (::sethostname(spec.hostname.data(), spec.hostname.size()) < 0) {
      return ErrnoError("setting the host name '{}'", spec.hostname);
    }
  }
  if (!spec.domainname.empty()) {
    if (!HasNamespace(spec.platform, "uts")) {
      return InvalidArgument("domainname: needs a uts namespace");
    }
    if (::setdomainname(spec.domainname.data(), spec.domainname.size()) < 0) {
      return ErrnoError("setting the domain name '{}'", spec.domainname);
    }
  }
  return {};
}

Result<> SetSysctls(const oci::Spec& spec) {
  for (const auto& [name, value] : spec.platform.sysctl) {
    // Both notations of sysctl(8): "net.ipv4.x" and "net/ipv4/x" (there a dot is part of a name).
    std::string key = name;
    std::string path = name;
    if (name.find('/') != std::string::npos) {
      std::replace(key.begin(), key.end(), '/', '.');
    } else {
      std::replace(path.begin(), path.end(), '.', '/');
    }
    if (path.find("..") != std::string::npos || path.find("//") != std::string::npos) {
      return InvalidArgument("sysctl '{}': bad name", name);
    }
    TRY(CheckSysctl(key, spec.platform));
    TRY_WITH(WriteFile("/proc/sys/" + path, value), "setting sysctl '{}'", name);
  }
  return {};
}

Result<> RaiseLoopback() {
  UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket.valid()) return ErrnoError("making a socket");
  ifreq request{};
  ::memcpy(request.ifr_name, "lo", 3);
  request.ifr_flags = IFF_UP;
  if (::ioctl(socket.get(), SIOCSIFFLAGS, &request) < 0) {
    return ErrnoError("bringing up the loopback interface");
  }
  return {};
}

}  // namespace gantry::runtime::child
