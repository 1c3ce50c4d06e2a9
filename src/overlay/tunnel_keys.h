// SPDX-License-Identifier: Apache-2.0
//
// The keys of one host as hosts tell each other of them.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "networks/cluster.h"

namespace gantry::overlay {

// With the moment from which `current` counts.
struct DatedKeys {
  networks::TunnelKeys keys;
  WallTime since{};
};

std::string EncodeKeys(const DatedKeys& dated);
Result<DatedKeys> DecodeKeys(std::string_view text);

// New ones, known by numbers that are not `taken`.
using Taken = std::function<bool(uint32_t spi)>;
networks::TunnelKeys NewKeys(const Taken& taken);
// What was to come counts now.
networks::TunnelKeys NextKeys(const networks::TunnelKeys& keys, const Taken& taken);

}  // namespace gantry::overlay
