// SPDX-License-Identifier: Apache-2.0
//
// The small values of run's and create's flags: variables, limits, devices, policies. Pure apart
// from the files and the environment that a value names. Any thread.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "formats/json.h"

namespace gantry::cli {

// "NAME=value" as it is; "NAME" takes the value of our own environment, if there is one.
Result<std::string> ParseVariable(const std::string& text);
// The lines of a file of variables or labels; '#' begins a comment. A name alone is left out,
// unless `from_environment` and we have that variable.
Result<std::vector<std::string>> ReadPairsFile(const std::string& path, bool from_environment);

// "nofile=1024:2048" to {"Name", "Soft", "Hard"}; -1 is no limit.
Result<formats::Json> ParseUlimit(const std::string& text);
// "1.5" processors to billionths.
Result<int64_t> ParseCpus(const std::string& text);
// "10mbit", "2.5gbit", "500kbps", "64000" to bits per second; units are tc(8)'s, where bps is
// bytes.
Result<int64_t> ParseBitRate(const std::string& text);
// "10:1" to 0x00100001: a class as tc(8) writes it, hexadecimal numbers of 16 bits each; not 0.
Result<int64_t> ParseNetClass(const std::string& text);
// "eth0=5" to {"Name", "Priority"}.
Result<formats::Json> ParseNetPriority(const std::string& text);
// "no", "always", "unless-stopped", "on-failure[:5]" to {"Name", "MaximumRetryCount"}.
Result<formats::Json> ParseRestartPolicy(const std::string& text);
// "name:ip" or "name=ip" to "name:ip".
Result<std::string> ParseExtraHost(const std::string& text);
// "/dev/sda:10mb" to {"Path", "Rate"}.
Result<formats::Json> ParseThrottle(const std::string& text, bool rate_is_size);
// "/dev/sda:500" to {"Path", "Weight"}.
Result<formats::Json> ParseWeight(const std::string& text);
// "name[=value]" with a name without blanks.
Result<> CheckLabel(const std::string& text);
// "name=value" of a sysctl that a container may have.
Result<> CheckSysctl(const std::string& text);
// The name of a standard stream.
Result<> CheckStream(const std::string& text);
// An IPv4 or IPv6 address.
Result<> CheckAddress(const std::string& text);

}  // namespace gantry::cli
