// SPDX-License-Identifier: Apache-2.0
//
// Members of config.json that become plain numbers for the child (personality, memory policy,
// processors), and labels that this kernel does not know, since less than what was asked for must
// never be given in silence. Called by create and exec in the parent; any thread.
#pragma once

#include <string_view>
#include <vector>

#include "base/error.h"
#include "oci/runtime_spec.h"
#include "runtime/child/plan.h"

namespace gantry::runtime {

Result<> CheckLabels(const oci::LinuxPlatform& platform);

Result<> FillProcessSettings(const oci::LinuxPlatform& platform, child::ProcessPlan* plan);

// "0-3,7" as the kernel's mask, lowest bits first; `what` names the member in errors.
Result<std::vector<unsigned long>> ParseNumberList(std::string_view text, std::string_view what);

}  // namespace gantry::runtime
