// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantry/time_spec.h"

#include <ctime>

#include "formats/human_units.h"

namespace gantry::cli {
namespace {

std::string Format(int64_t nanos) {
  return fmt::format("{}.{:09}", nanos / 1'000'000'000, nanos % 1'000'000'000);
}

}  // namespace

Result<std::string> ParseTimeSpec(std::string_view text, WallTime now) {
  if (Result<std::chrono::nanoseconds> age = formats::ParseGoDuration(text); age.ok()) {
    if (text != "0") return Format(UnixNanos(now - *age));
  }
  if (!text.empty() && text.find_first_not_of("0123456789.") == std::string_view::npos) {
    return std::string(text);
  }
  if (Result<WallTime> time = ParseRfc3339(text); time.ok()) return Format(UnixNanos(*time));
  // Shorter forms, in local time.
  std::string value(text);
  std::string fraction;
  if (size_t point = value.find('.'); point != std::string::npos) {
    fraction = value.substr(point + 1);
    value.resize(point);
  }
  for (const char* form : {"%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H", "%Y-%m-%d"}) {
    tm parts{};
    const char* end = ::strptime(value.c_str(), form, &parts);
    if (end == nullptr || *end != '\0') continue;
    if (fraction.size() > 9 || fraction.find_first_not_of("0123456789") != std::string::npos) break;
    parts.tm_isdst = -1;
    int64_t seconds = ::mktime(&parts);
    fraction.resize(9, '0');
    return fmt::format("{}.{}", seconds, fraction);
  }
  return InvalidArgument("failed to parse value as time or duration: \"{}\"", text);
}

}  // namespace gantry::cli
