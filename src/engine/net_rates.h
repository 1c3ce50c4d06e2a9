// SPDX-License-Identifier: Apache-2.0
//
// NetRate and NetCeil of a HostConfig, our own fields: how fast a container's interfaces send and
// receive (docs/networks.md). Pure; any thread.
#pragma once

#include "base/error.h"
#include "engine/config.h"
#include "networks/records.h"

namespace gantry::engine {

// kInvalidArgument: too small, a ceiling below the rate, or a container without interfaces of its
// own.
Result<> CheckNetRates(const HostConfig& host);
// One alone says the other, too.
networks::Rates RatesOf(const HostConfig& host);
// What an update asks for; zero takes one away.
void MergeNetRates(const HostConfig& asked, HostConfig* host);

}  // namespace gantry::engine
