// SPDX-License-Identifier: Apache-2.0
#include "engine/security_options.h"

#include <string_view>

#include "engine/seccomp_profile.h"

namespace gantry::engine {
namespace {

// Go's strconv.ParseBool.
std::optional<bool> ParseBool(std::string_view text) {
  for (std::string_view word : {"1", "t", "T", "TRUE", "true", "True"}) {
    if (text == word) return true;
  }
  for (std::string_view word : {"0", "f", "F", "FALSE", "false", "False"}) {
    if (text == word) return false;
  }
  return std::nullopt;
}

bool IsLabel(std::string_view value) {
  if (value == "disable" || value == "nested") return true;
  for (std::string_view key : {"user:", "role:", "type:", "level:", "filetype:"}) {
    if (value.starts_with(key)) return true;
  }
  return false;
}

Result<> Apply(const std::string& option, SecurityOptions* out) {
  auto bad = [&](int number) {
    return InvalidArgument("invalid --security-opt {}: \"{}\"", number, option);
  };
  if (option == "no-new-privileges") {
    out->no_new_privileges = true;
    return {};
  }
  if (option == "writable-cgroups") {
    out->writable_cgroups = true;
    return {};
  }
  if (option == "disable") return {};  // label=disable
  size_t separator = option.find('=');
  if (separator == std::string::npos) separator = option.find(':');
  if (separator == std::string::npos) return bad(1);
  std::string_view key = std::string_view(option).substr(0, separator);
  std::string value = option.substr(separator + 1);
  if (key == "seccomp") {
    out->seccomp = value;
  } else if (key == "apparmor") {
    out->apparmor = value;
  } else if (key == "no-new-privileges") {
    std::optional<bool> on = ParseBool(value);
    if (!on) return bad(2);
    out->no_new_privileges = *on;
  } else if (key == "writable-cgroups") {
    out->writable_cgroups = ParseBool(value);
    if (!out->writable_cgroups) return bad(2);
  } else if (key == "label") {
    if (!IsLabel(value)) {
      return InvalidArgument(
          "bad label option \"{}\", valid options 'disable, nested' or 'user, role, level, type, "
          "filetype' followed by ':' and a value",
          value);
    }
  } else {
    return bad(2);
  }
  return {};
}

}  // namespace

Result<SecurityOptions> ParseSecurityOptions(const HostConfig& host) {
  SecurityOptions out;
  for (const std::string& option : host.security_opt) TRY(Apply(option, &out));
  return out;
}

Result<> CheckSecurityOptions(const HostConfig& host) {
  SecurityOptions options = TRY(ParseSecurityOptions(host));
  bool profile =
      !options.seccomp.empty() && options.seccomp != "unconfined" && options.seccomp != "builtin";
  if (profile) TRY(ParseSeccompProfile(options.seccomp, {}));
  return {};
}

}  // namespace gantry::engine
