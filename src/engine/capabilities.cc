// SPDX-License-Identifier: Apache-2.0
#include "engine/capabilities.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>
#include <utility>

#include "base/text.h"
#include "kernel/capability_names.h"

namespace gantry::engine {
namespace {

constexpr std::string_view kAll = "ALL";

constexpr std::array<std::string_view, 14> kDefaultCapabilities = {
    "CAP_CHOWN",   "CAP_DAC_OVERRIDE", "CAP_FSETID",           "CAP_FOWNER",
    "CAP_MKNOD",   "CAP_NET_RAW",      "CAP_SETGID",           "CAP_SETUID",
    "CAP_SETFCAP", "CAP_SETPCAP",      "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT",
    "CAP_KILL",    "CAP_AUDIT_WRITE",
};

// "ALL" or "CAP_…", upper case, checked.
Result<std::vector<std::string>> Normalize(const std::vector<std::string>& asked) {
  uint64_t permitted = TRY(kernel::PermittedCapabilities());
  std::vector<std::string> out;
  for (const std::string& word : asked) {
    std::string name = Upper(word);
    if (name != kAll) {
      if (!name.starts_with("CAP_")) name.insert(0, "CAP_");
      std::optional<int> number = kernel::CapabilityNumber(name);
      if (!number) return InvalidArgument("unknown capability: \"{}\"", name);
      if ((permitted >> *number & 1) == 0) {
        return InvalidArgument(
            "capability not supported by your kernel or not available in the current environment: "
            "\"{}\"",
            name);
      }
    }
    out.push_back(std::move(name));
  }
  return out;
}

}  // namespace

Result<std::vector<std::string>> AvailableCapabilities() {
  uint64_t permitted = TRY(kernel::PermittedCapabilities());
  std::vector<std::string> out;
  auto names = kernel::CapabilityNames();
  for (size_t i = 0; i < names.size(); ++i) {
    if ((permitted >> i & 1) != 0) out.emplace_back(names[i]);
  }
  return out;
}

Result<> CheckCapabilities(const HostConfig& host) {
  TRY_WITH(Normalize(host.cap_add), "invalid CapAdd");
  TRY_WITH(Normalize(host.cap_drop), "invalid CapDrop");
  return {};
}

Result<std::vector<std::string>> MakeCapabilities(const HostConfig& host) {
  if (host.privileged) return AvailableCapabilities();
  std::vector<std::string> add = TRY(Normalize(host.cap_add));
  std::vector<std::string> drop = TRY(Normalize(host.cap_drop));
  std::vector<std::string> base(kDefaultCapabilities.begin(), kDefaultCapabilities.end());
  if (Contains(add, kAll)) {
    base = TRY(AvailableCapabilities());
    add.clear();
  } else if (Contains(drop, kAll)) {
    base.clear();
    drop.clear();
  }
  std::erase_if(base, [&](const std::string& name) { return Contains(drop, name); });
  for (std::string& name : add) {
    if (!Contains(base, name)) base.push_back(std::move(name));
  }
  return base;
}

}  // namespace gantry::engine
