// SPDX-License-Identifier: Apache-2.0
//
// The forms of the values in option_table.cc: what a flag's text means and what is wrong with it,
// in dockerd's words. Pure; any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "engine/config.h"
#include "formats/ip_address.h"

namespace gantry::gantryd {

// "10.0.0.0/24", or an address in it as docker's --bip has it: "10.0.0.1/24".
Result<formats::Ipv4Prefix> ParseSubnet(const std::string& text);
// "true", "1", "t" …, as Go's ParseBool.
Result<bool> ParseSwitch(const std::string& text);
Result<int64_t> ParseNumber(const std::string& text);
Result<std::string> ParseAbsolutePath(const std::string& text);
// "NAME=VALUE".
Result<std::pair<std::string, std::string>> ParsePair(const std::string& text);
// "nofile=1024:2048", "nofile=1024".
Result<engine::Ulimit> ParseUlimit(const std::string& text);
Result<std::string> ParseAddress(const std::string& text);

// What -H takes, in its full form: "unix://PATH", "tcp://HOST:PORT", "fd://…". Nothing for
// "unix://" and "", which mean the default socket.
Result<std::optional<std::string>> ParseHost(const std::string& text, bool tls);

}  // namespace gantry::gantryd
