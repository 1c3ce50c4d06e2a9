// SPDX-License-Identifier: Apache-2.0
//
// resolv.conf(5): name servers, search domains, options. What is not one of these is passed over.
// Pure; any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace gantry::formats {

struct ResolvConf {
  std::vector<std::string> servers;
  std::vector<std::string> search;
  std::vector<std::string> options;
};

ResolvConf ParseResolvConf(std::string_view text);
std::string FormatResolvConf(const ResolvConf& conf);

// Only the host itself reaches it.
bool IsLoopbackServer(std::string_view address);

}  // namespace gantry::formats
