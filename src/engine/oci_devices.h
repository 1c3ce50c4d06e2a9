// SPDX-License-Identifier: Apache-2.0
//
// Devices of a container: docker's default rules, --device, --device-cgroup-rule and the host's
// whole /dev for privileged containers. Any thread.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "engine/config.h"
#include "oci/runtime_spec.h"

namespace gantry::engine {

struct DeviceSet {
  std::vector<oci::Device> devices;
  std::vector<oci::DeviceRule> rules;
};

// Errors: kInvalidArgument in docker's words, such as "error gathering device information while
// adding custom device \"/dev/x\": no such file or directory".
Result<DeviceSet> MakeDevices(const HostConfig& host);

struct DeviceNumber {
  int64_t major = 0;
  int64_t minor = 0;
};
// Of a block device, for the io limits.
Result<DeviceNumber> BlockDeviceNumber(const std::string& path);

}  // namespace gantry::engine
