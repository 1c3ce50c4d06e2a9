// SPDX-License-Identifier: Apache-2.0
#include "kernel/interface_settings.h"

#include "base/io.h"
#include "base/text.h"

namespace gantry::kernel {

Result<> SetInterfaceSetting(std::string_view family, std::string_view group,
                             std::string_view interface, std::string_view key,
                             std::string_view value) {
  std::string path = fmt::format("/proc/sys/net/{}/{}/{}/{}", family, group, interface, key);
  auto present = ReadFile(path);
  if (!present.ok() && present.error().kind() == ErrorKind::kNotFound) {
    return NotFound("{} is not a sysctl file", path);
  }
  // The folder may be mounted read-only where everything is right already.
  if (Trim(TRY(std::move(present))) == value) return {};
  return WriteFile(path, std::string(value));
}

Result<> SetIpv6(const std::string& interface, bool on) {
  if (!on) {
    auto off = SetInterfaceSetting("ipv6", "conf", interface, "disable_ipv6", "1");
    if (!off.ok() && off.error().kind() == ErrorKind::kNotFound) return {};
    return off;
  }
  TRY(SetInterfaceSetting("ipv6", "conf", interface, "accept_ra", "0"));
  TRY(SetInterfaceSetting("ipv6", "conf", interface, "accept_dad", "0"));
  return SetInterfaceSetting("ipv6", "conf", interface, "disable_ipv6", "0");
}

}  // namespace gantry::kernel
