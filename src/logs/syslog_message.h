// SPDX-License-Identifier: Apache-2.0
//
// The forms of a syslog message (RFC 3164, RFC 5424, RFC 5425), as docker's driver writes them.
// Pure.
#pragma once

#include <string>
#include <string_view>

#include "logs/entry.h"

namespace gantry::logs {

enum class SyslogForm {
  kUnix,          // "<30>Nov 29 16:00:00 TAG[PID]: text"; docker's default
  kRfc3164,       // the same with the host's name
  kRfc5424,       // "<30>1 2026-11-29T16:00:00Z HOST TAG PID TAG - text"
  kRfc5424Micro,  // the same with microseconds
};

struct SyslogHeader {
  SyslogForm form = SyslogForm::kUnix;
  int facility = 3;
  std::string hostname;
  std::string tag;
  int pid = 0;
};

// With its newline. Times are of the local time zone, as the protocols want it.
std::string FormatSyslog(const SyslogHeader& header, const LogEntry& entry);

}  // namespace gantry::logs
