// SPDX-License-Identifier: Apache-2.0
//
// What GET /info and /version tell of the host. Any thread.
#pragma once

#include <cstdint>
#include <string>

namespace gantry::engine {

struct HostInfo {
  std::string hostname;
  std::string kernel_version;    // "6.1.0-18-amd64"
  std::string machine;           // "x86_64"
  std::string go_architecture;   // "amd64"
  std::string operating_system;  // "Debian GNU/Linux 12 (bookworm)"
  std::string os_version;        // "12"
  int64_t cpus = 0;
  int64_t memory_bytes = 0;
  bool unified_cgroups = false;
  int64_t open_descriptors = 0;  // of this process
  int64_t threads = 0;           // of this process
};

// What can't be read is empty or zero.
HostInfo ReadHostInfo();

}  // namespace gantry::engine
