// SPDX-License-Identifier: Apache-2.0
//
// The options of networks that several hosts share, and what serves them.
#pragma once

#include <memory>
#include <string>

#include "base/error.h"
#include "cmd/gantryd/options.h"
#include "overlay/hosts.h"

namespace gantry::gantryd {

// What is wrong with them, before anything is started; without `cluster-store` there is nothing to
// be wrong.
Result<> CheckCluster(const ClusterOptions& options);

// nullptr without `cluster-store`. The store itself is not asked yet.
Result<std::unique_ptr<overlay::Hosts>> MakeCluster(const ClusterOptions& options,
                                                    const std::string& engine_id);

}  // namespace gantry::gantryd
