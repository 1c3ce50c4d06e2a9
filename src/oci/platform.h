// SPDX-License-Identifier: Apache-2.0
//
// The platform that an image is made for (OCI image-spec 1.1, image index), and which of several
// fits a machine. Plain data.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace gantry::oci {

// Where an image runs, normalised as GOARCH: amd64, arm64 (variant v8 dropped), arm with variant.
struct Platform {
  std::string os;
  std::string architecture;
  std::string variant;
  std::string os_version;
  std::vector<std::string> os_features;

  bool operator==(const Platform&) const = default;
  // "linux/amd64", "linux/arm/v7".
  std::string ToString() const;
};
// This machine.
Platform HostPlatform();
// "os[/arch[/variant]]"; what is missing is the host's.
Result<Platform> ParsePlatform(std::string_view text);
// x86_64 → amd64, aarch64 → arm64, …
Platform Normalize(Platform platform);
// A score of MatchPlatform from which on it is that architecture, not one that it runs as well.
inline constexpr int kSameArchitecture = 50;
// Whether an image for `image` runs where `wanted` is asked for; higher is better, 0 is no.
int MatchPlatform(const Platform& wanted, const Platform& image);

}  // namespace gantry::oci
