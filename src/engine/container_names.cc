// SPDX-License-Identifier: Apache-2.0
#include "engine/container_names.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "base/random.h"

namespace gantry::engine {
namespace {

constexpr int kPlainAttempts = 10;

constexpr std::array<std::string_view, 48> kAdjectives = {
    "able",   "agile",  "amber", "bold",   "brave",  "bright", "brisk",   "calm",
    "clear",  "clever", "cosy",  "crisp",  "deft",   "eager",  "early",   "fair",
    "fleet",  "fond",   "frank", "fresh",  "gentle", "glad",   "golden",  "grand",
    "handy",  "happy",  "hardy", "honest", "jolly",  "keen",   "kind",    "light",
    "lively", "lucid",  "merry", "neat",   "nimble", "noble",  "patient", "proud",
    "quick",  "quiet",  "rapid", "ready",  "steady", "sunny",  "swift",   "witty"};

// What a gantry lifts, carries and stands beside.
constexpr std::array<std::string_view, 48> kNouns = {
    "anchor", "anvil",   "barge",   "beacon",   "beam",   "bollard", "boom",    "bridge",
    "buoy",   "cable",   "cargo",   "clipper",  "crane",  "crate",   "deck",    "derrick",
    "dock",   "dredger", "ferry",   "forklift", "girder", "harbour", "hatch",   "hawser",
    "hoist",  "hook",    "hull",    "jetty",    "keel",   "ketch",   "lantern", "lift",
    "lock",   "mast",    "mooring", "pallet",   "pier",   "pilot",   "pulley",  "quay",
    "rail",   "rudder",  "shackle", "sling",    "tackle", "trolley", "tugboat", "winch"};

bool IsNameCharacter(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '.' || c == '-';
}

}  // namespace

std::string BadContainerName(std::string_view name) {
  return fmt::format("Invalid container name ({}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed",
                     name);
}

Result<> CheckContainerName(std::string_view name) {
  bool fits = name.size() >= 2 && std::isalnum(static_cast<unsigned char>(name[0])) != 0 &&
              std::all_of(name.begin(), name.end(), IsNameCharacter);
  if (fits) return {};
  return InvalidArgument("{}", BadContainerName(name));
}

std::string RandomContainerName(int attempt) {
  uint64_t random = RandomU64();
  std::string name = fmt::format("{}_{}", kAdjectives[random % kAdjectives.size()],
                                 kNouns[(random >> 16) % kNouns.size()]);
  if (attempt >= kPlainAttempts) name += std::to_string((random >> 32) % 1000);
  return name;
}

}  // namespace gantry::engine
