// SPDX-License-Identifier: Apache-2.0
//
// What --device, --device-cgroup-rule and --gpus mean, in docker's grammar. Pure; any thread.
#pragma once

#include <string>

#include "base/error.h"
#include "formats/json.h"

namespace gantry::cli {

// "HOST[:INSIDE][:rwm]" as an entry of Devices.
Result<formats::Json> ParseDevice(const std::string& text);
// "vendor.com/class=name" of the Container Device Interface.
bool IsCdiName(const std::string& text);
// "[acb] MAJOR:MINOR rwm", a number may be "*".
Result<> CheckDeviceRule(const std::string& text);
// "all", "2", or "count=…,device=…,driver=…,capabilities=…,options=…" as an entry of
// DeviceRequests.
Result<formats::Json> ParseGpus(const std::string& text);

}  // namespace gantry::cli
