// SPDX-License-Identifier: Apache-2.0
#include "base/clock.h"

#include <ctime>

namespace gantry {
namespace {

constexpr int64_t kNanosPerSecond = 1'000'000'000;

std::string FormatSeconds(int64_t seconds) {
  // Not gmtime_r: it reads the zone of the host's /etc/localtime first, for nothing.
  std::chrono::sys_seconds time{std::chrono::seconds(seconds)};
  auto day = std::chrono::floor<std::chrono::days>(time);
  std::chrono::year_month_day date(day);
  std::chrono::hh_mm_ss clock(time - day);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                     clock.hours().count(), clock.minutes().count(), clock.seconds().count());
}

struct Split {
  int64_t seconds;
  int64_t nanos;
};

Split SplitTime(WallTime time) {
  int64_t total = UnixNanos(time);
  int64_t seconds = total / kNanosPerSecond;
  int64_t nanos = total % kNanosPerSecond;
  if (nanos < 0) {
    nanos += kNanosPerSecond;
    --seconds;
  }
  return {seconds, nanos};
}

// Reads exactly `digits` decimal digits at *at and moves past them.
Result<int> ReadDigits(std::string_view text, size_t* at, size_t digits) {
  int value = 0;
  for (size_t i = 0; i < digits; ++i, ++*at) {
    if (*at >= text.size() || text[*at] < '0' || text[*at] > '9') {
      return InvalidArgument("parsing time '{}': expected a digit at position {}", text, *at);
    }
    value = value * 10 + (text[*at] - '0');
  }
  return value;
}

Result<> Expect(std::string_view text, size_t* at, char a, char b) {
  if (*at >= text.size() || (text[*at] != a && text[*at] != b)) {
    return InvalidArgument("parsing time '{}': expected '{}' at position {}", text, a, *at);
  }
  ++*at;
  return {};
}

}  // namespace

std::string FormatRfc3339Nano(WallTime time) {
  Split split = SplitTime(time);
  std::string out = FormatSeconds(split.seconds);
  if (split.nanos != 0) {
    out.append(fmt::format(".{:09}", split.nanos));
    out.erase(out.find_last_not_of('0') + 1);
  }
  out.push_back('Z');
  return out;
}

std::string FormatRfc3339Fixed(WallTime time) {
  Split split = SplitTime(time);
  return fmt::format("{}.{:09}Z", FormatSeconds(split.seconds), split.nanos);
}

Result<WallTime> ParseRfc3339(std::string_view text) {
  size_t at = 0;
  tm parts{};
  parts.tm_year = TRY(ReadDigits(text, &at, 4)) - 1900;
  TRY(Expect(text, &at, '-', '-'));
  parts.tm_mon = TRY(ReadDigits(text, &at, 2)) - 1;
  TRY(Expect(text, &at, '-', '-'));
  parts.tm_mday = TRY(ReadDigits(text, &at, 2));
  TRY(Expect(text, &at, 'T', 't'));
  parts.tm_hour = TRY(ReadDigits(text, &at, 2));
  TRY(Expect(text, &at, ':', ':'));
  parts.tm_min = TRY(ReadDigits(text, &at, 2));
  TRY(Expect(text, &at, ':', ':'));
  parts.tm_sec = TRY(ReadDigits(text, &at, 2));
  if (parts.tm_mon < 0 || parts.tm_mon > 11 || parts.tm_mday < 1 || parts.tm_mday > 31 ||
      parts.tm_hour > 23 || parts.tm_min > 59 || parts.tm_sec > 60) {
    return InvalidArgument("parsing time '{}': a field is out of range", text);
  }
  int64_t nanos = 0;
  if (at < text.size() && text[at] == '.') {
    ++at;
    int64_t scale = 100'000'000;
    size_t first = at;
    for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at, scale /= 10) {
      nanos += (text[at] - '0') * scale;
    }
    if (at == first) return InvalidArgument("parsing time '{}': the fraction is empty", text);
  }
  int64_t offset = 0;
  if (at < text.size() && (text[at] == 'Z' || text[at] == 'z')) {
    ++at;
  } else if (at < text.size() && (text[at] == '+' || text[at] == '-')) {
    int sign = text[at] == '+' ? 1 : -1;
    ++at;
    int hours = TRY(ReadDigits(text, &at, 2));
    TRY(Expect(text, &at, ':', ':'));
    offset = sign * (hours * 3600 + TRY(ReadDigits(text, &at, 2)) * 60);
  } else {
    return InvalidArgument("parsing time '{}': the zone is missing", text);
  }
  if (at != text.size()) return InvalidArgument("parsing time '{}': text after the time", text);
  // Not timegm: it works out the zone's rules each time, and logs have a time in each line.
  std::chrono::sys_days day = std::chrono::year(parts.tm_year + 1900) /
                              std::chrono::month(static_cast<unsigned>(parts.tm_mon) + 1) /
                              std::chrono::day(static_cast<unsigned>(parts.tm_mday));
  int64_t seconds = int64_t{day.time_since_epoch().count()} * 86400 + parts.tm_hour * 3600 +
                    parts.tm_min * 60 + parts.tm_sec - offset;
  constexpr int64_t kLastSecond = INT64_MAX / kNanosPerSecond - 1;
  if (seconds > kLastSecond) return WallTime::max();
  if (seconds < -kLastSecond) return WallTime::min();
  return FromUnixNanos(seconds * kNanosPerSecond + nanos);
}

}  // namespace gantry
