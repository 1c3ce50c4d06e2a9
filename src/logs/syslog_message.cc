// SPDX-License-Identifier: Apache-2.0
#include "logs/syslog_message.h"

#include <fmt/core.h>
#include <time.h>

#include <cstdlib>

namespace gantry::logs {
namespace {

constexpr int kSeverityError = 3;
constexpr int kSeverityInfo = 6;

tm LocalTime(WallTime time) {
  time_t seconds = UnixNanos(time) / 1'000'000'000;
  tm local{};
  ::localtime_r(&seconds, &local);
  return local;
}

// RFC 3339 in local time; `micro`: with six digits of the second's fraction.
std::string Timestamp(WallTime time, bool micro) {
  tm local = LocalTime(time);
  std::string out =
      fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}", local.tm_year + 1900, local.tm_mon + 1,
                  local.tm_mday, local.tm_hour, local.tm_min, local.tm_sec);
  if (micro) out += fmt::format(".{:06}", UnixNanos(time) / 1000 % 1'000'000);
  long offset = local.tm_gmtoff / 60;
  if (offset == 0) return out + "Z";
  return out + fmt::format("{}{:02}:{:02}", offset < 0 ? '-' : '+', std::labs(offset) / 60,
                           std::labs(offset) % 60);
}

// "Nov  9 16:00:00", in English whatever the locale is.
std::string Stamp(WallTime time) {
  constexpr std::string_view kMonths = "JanFebMarAprMayJunJulAugSepOctNovDec";
  tm local = LocalTime(time);
  return fmt::format("{} {:2} {:02}:{:02}:{:02}",
                     kMonths.substr(static_cast<size_t>(local.tm_mon) * 3, 3), local.tm_mday,
                     local.tm_hour, local.tm_min, local.tm_sec);
}

}  // namespace

std::string FormatSyslog(const SyslogHeader& header, const LogEntry& entry) {
  int priority = header.facility * 8 + (entry.is_error ? kSeverityError : kSeverityInfo);
  switch (header.form) {
    case SyslogForm::kUnix:
      return fmt::format("<{}>{} {}[{}]: {}\n", priority, Stamp(entry.time), header.tag, header.pid,
                         entry.line);
    case SyslogForm::kRfc3164:
      return fmt::format("<{}>{} {} {}[{}]: {}\n", priority, Stamp(entry.time), header.hostname,
                         header.tag, header.pid, entry.line);
    case SyslogForm::kRfc5424:
    case SyslogForm::kRfc5424Micro:
      break;
  }
  return fmt::format("<{}>1 {} {} {} {} {} - {}\n", priority,
                     Timestamp(entry.time, header.form == SyslogForm::kRfc5424Micro),
                     header.hostname, header.tag, header.pid, header.tag, entry.line);
}

}  // namespace gantry::logs
