// SPDX-License-Identifier: Apache-2.0
#include "oci/platform.h"

#include <sys/utsname.h>

#include <algorithm>

#include "base/text.h"

namespace gantry::oci {
namespace {

int ArmVersion(const std::string& variant) {
  if (variant.size() == 2 && variant[0] == 'v' && variant[1] >= '5' && variant[1] <= '8') {
    return variant[1] - '0';
  }
  return variant.empty() ? 7 : 0;
}

bool IsPart(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '.';
  });
}

}  // namespace

std::string Platform::ToString() const {
  std::string text = os + "/" + architecture;
  if (!variant.empty()) text += "/" + variant;
  return text;
}

Platform Normalize(Platform platform) {
  platform.os = Lower(platform.os);
  platform.architecture = Lower(platform.architecture);
  platform.variant = Lower(platform.variant);
  std::string& architecture = platform.architecture;
  std::string& variant = platform.variant;
  if (platform.os == "macos") platform.os = "darwin";
  if (architecture == "x86_64" || architecture == "x86-64" || architecture == "amd64") {
    architecture = "amd64";
    if (variant == "v1") variant.clear();
  } else if (architecture == "i386" || architecture == "i686") {
    architecture = "386";
    variant.clear();
  } else if (architecture == "aarch64" || architecture == "arm64") {
    architecture = "arm64";
    if (variant == "8" || variant == "v8") variant.clear();
  } else if (architecture == "armhf" || architecture == "armv7l") {
    architecture = "arm";
    variant = "v7";
  } else if (architecture == "armel" || architecture == "armv6l") {
    architecture = "arm";
    variant = "v6";
  } else if (architecture == "arm") {
    if (variant.empty() || variant == "7") variant = "v7";
    if (variant == "5" || variant == "6" || variant == "8") variant = "v" + variant;
  }
  return platform;
}

Platform HostPlatform() {
  utsname names;
  CHECK(::uname(&names) == 0);
  return Normalize({.os = "linux", .architecture = names.machine});
}

namespace {

// Go's names, and the usual other ones that Normalize knows.
bool IsArchitecture(std::string_view name) {
  static constexpr std::string_view kNames[] = {
      "386",     "aarch64", "amd64", "arm",    "arm64",    "armel",  "armhf",
      "i386",    "loong64", "mips",  "mips64", "mips64le", "mipsle", "ppc64",
      "ppc64le", "riscv64", "s390x", "wasm",   "x86-64",   "x86_64"};
  return std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames);
}

}  // namespace

Result<Platform> ParsePlatform(std::string_view text) {
  std::vector<std::string> parts;
  for (std::string_view rest = text;;) {
    size_t slash = rest.find('/');
    parts.emplace_back(rest.substr(0, slash));
    if (!IsPart(parts.back()) || parts.size() > 3) {
      return InvalidArgument("parsing platform '{}': expected os/architecture[/variant]",
                             text.substr(0, 100));
    }
    if (slash == std::string_view::npos) break;
    rest.remove_prefix(slash + 1);
  }
  Platform platform = HostPlatform();
  if (parts.size() == 1) {
    // An operating system, or else an architecture.
    std::string one = Lower(parts[0]);
    if (one == "linux" || one == "windows" || one == "darwin" || one == "freebsd") {
      platform.os = one;
    } else if (IsArchitecture(one)) {
      platform = {.os = "linux", .architecture = one};
    } else {
      return InvalidArgument("\"{}\": unknown operating system or architecture", one);
    }
  } else {
    platform = {.os = parts[0], .architecture = parts[1]};
    if (parts.size() == 3) platform.variant = parts[2];
  }
  return Normalize(std::move(platform));
}

int MatchPlatform(const Platform& wanted_platform, const Platform& image_platform) {
  Platform wanted = Normalize(wanted_platform);
  Platform image = Normalize(image_platform);
  if (wanted.os != image.os) return 0;
  if (wanted.architecture == image.architecture) {
    if (wanted.variant == image.variant) return 100;
    if (wanted.architecture == "arm") {
      int have = ArmVersion(image.variant);
      int want = ArmVersion(wanted.variant);
      return have != 0 && have < want ? 50 + have : 0;
    }
    // A machine that can do more runs the baseline.
    return image.variant.empty() ? 50 : 0;
  }
  if (wanted.architecture == "amd64" && image.architecture == "386") return 10;
  if (wanted.architecture == "arm64" && image.architecture == "arm") {
    return 10 + ArmVersion(image.variant);
  }
  return 0;
}

}  // namespace gantry::oci
