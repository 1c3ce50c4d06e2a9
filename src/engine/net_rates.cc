// SPDX-License-Identifier: Apache-2.0
#include "engine/net_rates.h"

#include <string_view>

#include "engine/namespace_modes.h"

namespace gantry::engine {
namespace {

// Below it one full packet takes more than a second.
constexpr int64_t kMinimum = 16'000;

Result<> CheckOne(std::string_view name, const std::optional<int64_t>& value) {
  if (!value || *value == 0 || *value >= kMinimum) return {};
  return InvalidArgument("invalid {}: {} bit/s, the minimum is {}", name, *value, kMinimum);
}

}  // namespace

Result<> CheckNetRates(const HostConfig& host) {
  TRY(CheckOne("NetRate", host.net_rate));
  TRY(CheckOne("NetCeil", host.net_ceil));
  networks::Rates rates = RatesOf(host);
  if (rates.ceil < rates.rate) {
    return InvalidArgument("invalid NetCeil: {} bit/s is less than NetRate, which is {}",
                           rates.ceil, rates.rate);
  }
  if (!rates.limited()) return {};
  if (host.network_mode == "host" || host.network_mode == "none") {
    return InvalidArgument("conflicting options: net rates and the {} network mode",
                           host.network_mode);
  }
  if (IsContainerMode(host.network_mode)) {
    return InvalidArgument("conflicting options: net rates and the container type network mode");
  }
  return {};
}

networks::Rates RatesOf(const HostConfig& host) {
  int64_t rate = host.net_rate.value_or(0), ceil = host.net_ceil.value_or(0);
  networks::Rates rates;
  rates.rate = static_cast<uint64_t>(rate != 0 ? rate : ceil);
  rates.ceil = static_cast<uint64_t>(ceil != 0 ? ceil : rate);
  return rates;
}

void MergeNetRates(const HostConfig& asked, HostConfig* host) {
  auto take = [](const std::optional<int64_t>& value, std::optional<int64_t>* target) {
    if (value) *target = value;
    if (value == 0) target->reset();
  };
  take(asked.net_rate, &host->net_rate);
  take(asked.net_ceil, &host->net_ceil);
}

}  // namespace gantry::engine
