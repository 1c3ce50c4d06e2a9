// SPDX-License-Identifier: Apache-2.0
#include "formats/toml_scalar.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <string>

namespace gantry::formats {
namespace {

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// Takes what is understood off the front of a word.
class Word {
 public:
  explicit Word(std::string_view text) : rest_(text) {}

  bool empty() const { return rest_.empty(); }
  bool Take(char c) {
    if (!rest_.starts_with(c)) return false;
    rest_.remove_prefix(1);
    return true;
  }
  bool TakeAny(std::string_view characters) {
    if (rest_.empty() || characters.find(rest_.front()) == std::string_view::npos) return false;
    rest_.remove_prefix(1);
    return true;
  }
  // Exactly `count` digits, of a value from `least` to `most`.
  bool TakeNumber(size_t count, int least, int most, int* value = nullptr) {
    int number = 0;
    if (rest_.size() < count) return false;
    for (size_t i = 0; i < count; ++i) {
      if (!IsDigit(rest_[i])) return false;
      number = number * 10 + (rest_[i] - '0');
    }
    rest_.remove_prefix(count);
    if (value != nullptr) *value = number;
    return number >= least && number <= most;
  }
  // Digits with single '_' between them, which are left out of *digits.
  bool TakeDigits(std::string_view allowed, std::string* digits) {
    bool after_digit = false;
    while (!rest_.empty()) {
      if (rest_.front() == '_') {
        if (!after_digit) return false;
        after_digit = false;
      } else if (allowed.find(rest_.front()) != std::string_view::npos) {
        *digits += rest_.front();
        after_digit = true;
      } else {
        break;
      }
      rest_.remove_prefix(1);
    }
    return after_digit;
  }
  std::string_view rest() const { return rest_; }

 private:
  std::string_view rest_;
};

Error NoValue(std::string_view word) {
  return InvalidArgument("'{}' is no number, boolean, date or time (and no string without quotes)",
                         word);
}

constexpr std::string_view kDecimal = "0123456789";

Result<Json> IntegerOf(std::string_view word, const std::string& digits, int base) {
  int64_t value = 0;
  auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
  if (error != std::errc()) return InvalidArgument("'{}' does not fit into 64 bits", word);
  return Json(value);
}

// "0x", "0o" and "0b" have no sign.
Result<Json> ParsePrefixed(std::string_view word, int base, std::string_view allowed) {
  Word rest(word.substr(2));
  std::string digits;
  if (!rest.TakeDigits(allowed, &digits) || !rest.empty()) return NoValue(word);
  return IntegerOf(word, digits, base);
}

Result<Json> ParseNumber(std::string_view word) {
  if (word.starts_with("0x")) return ParsePrefixed(word, 16, "0123456789abcdefABCDEF");
  if (word.starts_with("0o")) return ParsePrefixed(word, 8, "01234567");
  if (word.starts_with("0b")) return ParsePrefixed(word, 2, "01");
  Word rest(word);
  bool negative = rest.Take('-');
  if (!negative) rest.Take('+');
  std::string digits = negative ? "-" : "";
  if (rest.rest() == "inf" || rest.rest() == "nan") {
    using Limits = std::numeric_limits<double>;
    double value = rest.rest() == "inf" ? Limits::infinity() : Limits::quiet_NaN();
    return Json(negative ? -value : value);
  }
  size_t sign = digits.size();
  if (!rest.TakeDigits(kDecimal, &digits)) return NoValue(word);
  if (digits.size() > sign + 1 && digits[sign] == '0') return NoValue(word);  // "01"
  if (rest.empty()) return IntegerOf(word, digits, 10);
  if (rest.Take('.')) {
    digits += '.';
    if (!rest.TakeDigits(kDecimal, &digits)) return NoValue(word);
  }
  if (rest.TakeAny("eE")) {
    digits += rest.Take('-') ? "e-" : "e";
    if (!digits.ends_with('-')) rest.Take('+');
    if (!rest.TakeDigits(kDecimal, &digits)) return NoValue(word);
  }
  if (!rest.empty()) return NoValue(word);
  double value = 0;
  auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc()) return InvalidArgument("'{}' does not fit into 64 bits", word);
  return Json(value);
}

// YYYY-MM-DD, of the Gregorian calendar.
bool TakeDate(Word* word) {
  int year = 0;
  int month = 0;
  int day = 0;
  if (!word->TakeNumber(4, 1, 9999, &year) || !word->Take('-') ||
      !word->TakeNumber(2, 1, 12, &month) || !word->Take('-') ||
      !word->TakeNumber(2, 1, 31, &day)) {
    return false;
  }
  bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
  if (month == 2) return day <= (leap ? 29 : 28);
  bool short_month = month == 4 || month == 6 || month == 9 || month == 11;
  return day <= (short_month ? 30 : 31);
}

// HH:MM:SS[.fraction]; what *fraction gets begins with its dot, or is empty.
bool TakeTime(Word* word, std::string* fraction) {
  constexpr size_t kMicroseconds = 6;
  if (!word->TakeNumber(2, 0, 23) || !word->Take(':') || !word->TakeNumber(2, 0, 59) ||
      !word->Take(':') || !word->TakeNumber(2, 0, 59)) {
    return false;
  }
  if (!word->Take('.')) return true;
  size_t count = 0;
  while (count < word->rest().size() && IsDigit(word->rest()[count])) ++count;
  if (count == 0) return false;
  *fraction = "." + std::string(word->rest().substr(0, std::min(count, kMicroseconds)));
  *word = Word(word->rest().substr(count));
  while (fraction->ends_with('0')) fraction->pop_back();
  if (*fraction == ".") fraction->clear();
  return true;
}

// "Z" or "+HH:MM"; written as RFC 3339 has it, "Z" for no difference.
bool TakeOffset(Word* word, std::string* offset) {
  std::string_view whole = word->rest();
  if (word->TakeAny("Zz")) {
    *offset = "Z";
    return true;
  }
  if (!word->TakeAny("+-") || !word->TakeNumber(2, 0, 23) || !word->Take(':') ||
      !word->TakeNumber(2, 0, 59)) {
    return false;
  }
  *offset = whole.substr(1, 5) == "00:00" ? "Z" : std::string(whole.substr(0, 6));
  return true;
}

Result<Json> ParseDate(std::string_view text) {
  constexpr size_t kDateSize = 10;
  constexpr size_t kTimeSize = 8;
  Word word(text);
  if (!TakeDate(&word)) return NoValue(text);
  std::string date(text.substr(0, kDateSize));
  if (word.empty()) return Json(date);
  if (!word.TakeAny("Tt ")) return NoValue(text);
  std::string time(word.rest().substr(0, kTimeSize));
  std::string fraction;
  std::string offset;
  if (!TakeTime(&word, &fraction)) return NoValue(text);
  if (!word.empty() && !TakeOffset(&word, &offset)) return NoValue(text);
  if (!word.empty()) return NoValue(text);
  return Json(date + "T" + time + fraction + offset);
}

Result<Json> ParseTime(std::string_view text) {
  constexpr size_t kTimeSize = 8;
  Word word(text);
  std::string fraction;
  if (!TakeTime(&word, &fraction) || !word.empty()) return NoValue(text);
  return Json(std::string(text.substr(0, kTimeSize)) + fraction);
}

}  // namespace

Result<Json> ParseTomlScalar(std::string_view word) {
  if (word == "true") return Json(true);
  if (word == "false") return Json(false);
  bool digits = word.size() > 4 && IsDigit(word[0]) && IsDigit(word[1]);
  if (digits && word[2] == ':') return ParseTime(word);
  if (digits && word[4] == '-' && IsDigit(word[2]) && IsDigit(word[3])) return ParseDate(word);
  return ParseNumber(word);
}

}  // namespace gantry::formats
