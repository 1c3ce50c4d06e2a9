// SPDX-License-Identifier: Apache-2.0
//
// DeviceRequests (--gpus, --device vendor.com/class=name): who makes the devices is a driver. Ours
// is "cdi"; whatever else is asked for, docker's error is the answer. Any thread.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "engine/config.h"
#include "oci/runtime_spec.h"

namespace gantry::engine {

// Changes a spec whose process and devices are complete. Errors: kInvalidArgument, "could not
// select device driver …" or "CDI device injection failed: …".
Result<> ApplyDeviceRequests(const std::vector<DeviceRequest>& requests,
                             const std::vector<std::string>& cdi_directories, oci::Spec* spec);

}  // namespace gantry::engine
