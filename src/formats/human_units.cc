// SPDX-License-Identifier: Apache-2.0
#include "formats/human_units.h"

#include <fmt/format.h>

#include <array>
#include <cctype>
#include <cstdlib>
#include <limits>
#include <optional>
#include <span>

#include "base/text.h"

namespace gantry::formats {
namespace {

std::string Scale(double size, double base, int digits, std::span<const char* const> units) {
  size_t unit = 0;
  while (size >= base && unit + 1 < units.size()) {
    size /= base;
    ++unit;
  }
  return fmt::format("{:.{}g}{}", size, digits, units[unit]);
}

// A decimal number without an exponent. strtod(3), since std::from_chars would need libm at start.
std::optional<double> ParseDecimal(std::string_view text) {
  if (text.empty() || text.find_first_not_of("-0123456789.") != std::string_view::npos) {
    return std::nullopt;
  }
  std::string copy(text);
  char* end = nullptr;
  double value = std::strtod(copy.c_str(), &end);
  if (*end != '\0') return std::nullopt;
  return value;
}

// The factor of a unit of time in nanoseconds, or 0.
double UnitNanos(std::string_view unit) {
  if (unit == "ns") return 1;
  if (unit == "us" || unit == "\xC2\xB5s" || unit == "\xCE\xBCs") return 1e3;
  if (unit == "ms") return 1e6;
  if (unit == "s") return 1e9;
  if (unit == "m") return 60e9;
  if (unit == "h") return 3600e9;
  return 0;
}

// Removes trailing zeros of a fraction, and the point when nothing is left.
std::string TrimFraction(std::string text) {
  text.erase(text.find_last_not_of('0') + 1);
  if (!text.empty() && text.back() == '.') text.pop_back();
  return text;
}

}  // namespace

std::string HumanSize(double bytes, int digits) {
  static constexpr std::array<const char*, 9> kUnits = {"B",  "kB", "MB", "GB", "TB",
                                                        "PB", "EB", "ZB", "YB"};
  return Scale(bytes, 1000, digits, kUnits);
}

std::string BinarySize(double bytes) {
  static constexpr std::array<const char*, 9> kUnits = {"B",   "KiB", "MiB", "GiB", "TiB",
                                                        "PiB", "EiB", "ZiB", "YiB"};
  return Scale(bytes, 1024, 4, kUnits);
}

Result<int64_t> ParseBinarySize(std::string_view text) {
  size_t last = text.find_last_of("0123456789. ");
  if (last == std::string_view::npos) return InvalidArgument("invalid size: '{}'", text);
  std::string_view number = text.substr(0, text[last] == ' ' ? last : last + 1);
  std::string_view suffix = text.substr(last + 1);
  std::optional<double> size = ParseDecimal(number);
  if (!size) {
    return InvalidArgument("strconv.ParseFloat: parsing \"{}\": invalid syntax", number);
  }
  if (*size < 0) return InvalidArgument("invalid size: '{}'", text);
  double factor = 1;
  if (!suffix.empty()) {
    std::string lower = Lower(suffix);
    size_t power = std::string_view("bkmgtp").find(lower[0]);
    std::string_view rest = std::string_view(lower).substr(1);
    bool fits = power == 0 ? rest.empty() : rest.empty() || rest == "b" || rest == "ib";
    if (power == std::string_view::npos || !fits) {
      return InvalidArgument("invalid suffix: '{}'", suffix);
    }
    factor = static_cast<double>(uint64_t{1} << (10 * power));
  }
  double bytes = *size * factor;
  if (bytes >= 9.2e18) return InvalidArgument("invalid size: '{}'", text);
  return static_cast<int64_t>(bytes);
}

std::string HumanDuration(std::chrono::nanoseconds duration) {
  using std::chrono::duration_cast;
  int64_t seconds = duration_cast<std::chrono::seconds>(duration).count();
  if (seconds < 1) return "Less than a second";
  if (seconds == 1) return "1 second";
  if (seconds < 60) return fmt::format("{} seconds", seconds);
  int64_t minutes = seconds / 60;
  if (minutes == 1) return "About a minute";
  if (minutes < 60) return fmt::format("{} minutes", minutes);
  double exact_hours = static_cast<double>(duration.count()) / 3600e9;
  int64_t hours = static_cast<int64_t>(exact_hours + 0.5);
  if (hours == 1) return "About an hour";
  if (hours < 48) return fmt::format("{} hours", hours);
  if (hours < 24 * 7 * 2) return fmt::format("{} days", hours / 24);
  if (hours < 24 * 30 * 2) return fmt::format("{} weeks", hours / 24 / 7);
  if (hours < 24 * 365 * 2) return fmt::format("{} months", hours / 24 / 30);
  return fmt::format("{} years", static_cast<int64_t>(exact_hours) / 24 / 365);
}

Result<std::chrono::nanoseconds> ParseGoDuration(std::string_view text) {
  auto bad = [&] { return InvalidArgument("time: invalid duration \"{}\"", text); };
  std::string_view rest = text;
  bool negative = !rest.empty() && rest[0] == '-';
  if (!rest.empty() && (rest[0] == '-' || rest[0] == '+')) rest.remove_prefix(1);
  if (rest == "0") return std::chrono::nanoseconds(0);
  if (rest.empty()) return bad();
  double total = 0;
  while (!rest.empty()) {
    size_t digits = rest.find_first_not_of("0123456789.");
    std::string_view number = rest.substr(0, digits);
    if (number.empty() || number == ".") return bad();
    std::optional<double> value = ParseDecimal(number);
    if (!value) return bad();
    rest = digits == std::string_view::npos ? std::string_view() : rest.substr(digits);
    size_t unit_end = rest.find_first_of("0123456789.");
    std::string_view unit = rest.substr(0, unit_end);
    if (unit.empty()) return InvalidArgument("time: missing unit in duration \"{}\"", text);
    double nanos = UnitNanos(unit);
    if (nanos == 0) {
      return InvalidArgument("time: unknown unit \"{}\" in duration \"{}\"", unit, text);
    }
    total += *value * nanos;
    if (total > static_cast<double>(std::numeric_limits<int64_t>::max() / 2)) return bad();
    rest = unit_end == std::string_view::npos ? std::string_view() : rest.substr(unit_end);
  }
  int64_t nanos = static_cast<int64_t>(total + 0.5);
  return std::chrono::nanoseconds(negative ? -nanos : nanos);
}

std::string FormatGoDuration(std::chrono::nanoseconds duration) {
  int64_t total = duration.count();
  if (total == 0) return "0s";
  std::string sign = total < 0 ? "-" : "";
  uint64_t nanos =
      total < 0 ? uint64_t{0} - static_cast<uint64_t>(total) : static_cast<uint64_t>(total);
  if (nanos < 1'000) return fmt::format("{}{}ns", sign, nanos);
  if (nanos < 1'000'000) {
    return sign + TrimFraction(fmt::format("{}.{:03}", nanos / 1000, nanos % 1000)) + "\xC2\xB5s";
  }
  if (nanos < 1'000'000'000) {
    return sign + TrimFraction(fmt::format("{}.{:06}", nanos / 1'000'000, nanos % 1'000'000)) +
           "ms";
  }
  uint64_t seconds = nanos / 1'000'000'000;
  std::string tail =
      TrimFraction(fmt::format("{}.{:09}", seconds % 60, nanos % 1'000'000'000)) + "s";
  if (seconds < 60) return sign + tail;
  if (seconds < 3600) return fmt::format("{}{}m{}", sign, seconds / 60, tail);
  return fmt::format("{}{}h{}m{}", sign, seconds / 3600, seconds / 60 % 60, tail);
}

}  // namespace gantry::formats
