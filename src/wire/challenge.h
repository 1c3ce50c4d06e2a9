// SPDX-License-Identifier: Apache-2.0
//
// The WWW-Authenticate header (RFC 9110 section 11.6.1): Bearer realm="…",service="…",scope="…" and
// Basic realm="…". Pure.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace gantry::wire {

struct Challenge {
  std::string scheme;                             // lower case
  std::map<std::string, std::string> parameters;  // names in lower case
};

// Nothing when it cannot be understood.
std::optional<Challenge> ParseChallenge(std::string_view header);

}  // namespace gantry::wire
