// SPDX-License-Identifier: Apache-2.0
//
// Programs beside the daemon that are network drivers or give out addresses, spoken to in docker's
// plugin protocol. The engine finds and asks them (engine/plugins.h); plugin_driver.cc and
// plugin_ipam.cc say what. Any thread.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"
#include "formats/json.h"

namespace gantry::networks {

inline constexpr std::string_view kNetworkPlugin = "NetworkDriver";
inline constexpr std::string_view kIpamPlugin = "IpamDriver";

class Plugins {
 public:
  virtual ~Plugins() = default;
  // POST /KIND.METHOD of that plugin, and its answer, an object. kNotFound: there is no such
  // plugin, or it is not of that kind; kUnimplemented: it knows no such method; kUnavailable: it is
  // not there, died meanwhile or took too long; kInternal: it said no, or something that makes no
  // sense.
  virtual Result<formats::Json> Call(const std::string& plugin, std::string_view kind,
                                     std::string_view method, const formats::Json& request) = 0;
};

}  // namespace gantry::networks
