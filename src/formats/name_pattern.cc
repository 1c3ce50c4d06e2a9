// SPDX-License-Identifier: Apache-2.0
#include "formats/name_pattern.h"

#include <regex.h>

#include <optional>
#include <string>

namespace gantry::formats {
namespace {

constexpr size_t kMaxLength = 512;
// glibc writes a repetition out, and one of a repetition as often again.
constexpr int kMaxRepeat = 32;

// A character behind a backslash: its class, or what POSIX calls the same.
std::optional<std::string_view> ClassOf(char c, bool in_brackets) {
  switch (c) {
    case 'd':
      return in_brackets ? "0-9" : "[0-9]";
    case 'D':
      if (in_brackets) return std::nullopt;
      return "[^0-9]";
    case 'w':
      return in_brackets ? "A-Za-z0-9_" : "[A-Za-z0-9_]";
    case 'W':
      if (in_brackets) return std::nullopt;
      return "[^A-Za-z0-9_]";
    case 's':
      return in_brackets ? "[:space:]" : "[[:space:]]";
    case 'S':
      if (in_brackets) return std::nullopt;
      return "[^[:space:]]";
    case 'b':
      if (in_brackets) return std::nullopt;
      return "\\b";
    default:
      return std::nullopt;
  }
}

bool IsWord(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

// "{N", "{N,M": small enough, and only one in a pattern. Anything else is a plain brace to both.
bool IsModestRepeat(std::string_view rest) {
  int number = 0;
  for (char c : rest.substr(1)) {
    if (c == '}') return true;
    if (c == ',') {
      number = 0;
    } else if (c >= '0' && c <= '9') {
      number = number * 10 + (c - '0');
      if (number > kMaxRepeat) return false;
    } else {
      return false;
    }
  }
  return false;
}

// The same as an extended expression of POSIX.
std::optional<std::string> Translate(std::string_view text, bool* any_case) {
  if (text.size() > kMaxLength || text.find('\0') != std::string_view::npos) return std::nullopt;
  if (text.starts_with("(?i)")) {
    *any_case = true;
    text.remove_prefix(4);
  }
  std::string out;
  bool in_brackets = false;
  int repeats = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '\\') {
      if (++i == text.size()) return std::nullopt;
      std::optional<std::string_view> known = ClassOf(text[i], in_brackets);
      // A letter or digit means something in Go that has no name here, or a reference.
      if (!known && IsWord(text[i])) return std::nullopt;
      if (known) {
        out += *known;
      } else if (in_brackets) {
        if (text[i] == ']' || text[i] == '-' || text[i] == '^') return std::nullopt;
        out += text[i];
      } else {
        out += {'\\', text[i]};
      }
      continue;
    }
    if (in_brackets) {
      in_brackets = c != ']' || out.ends_with('[') || out.ends_with("[^");
    } else if (c == '[') {
      in_brackets = true;
    } else if (c == '(' && text.substr(i).starts_with("(?")) {
      if (!text.substr(i).starts_with("(?:")) return std::nullopt;
      i += 2;
    } else if (c == '{') {
      if (++repeats > 1 || !IsModestRepeat(text.substr(i))) return std::nullopt;
    } else if (c == '?' && (out.ends_with('*') || out.ends_with('+') || out.ends_with('?'))) {
      continue;  // "as few as possible": whether it is found is the same
    }
    out += c;
  }
  if (in_brackets) return std::nullopt;
  return out;
}

}  // namespace

struct NamePattern::Compiled {
  regex_t regex{};
  bool good = false;
  Compiled(const std::string& text, bool any_case) {
    int flags = REG_EXTENDED | REG_NOSUB | (any_case ? REG_ICASE : 0);
    good = ::regcomp(&regex, text.c_str(), flags) == 0;
  }
  ~Compiled() {
    if (good) ::regfree(&regex);
  }
  Compiled(const Compiled&) = delete;
  Compiled& operator=(const Compiled&) = delete;
};

NamePattern::NamePattern(std::string_view text) {
  bool any_case = false;
  std::optional<std::string> translated = Translate(text, &any_case);
  if (translated) compiled_ = std::make_shared<const Compiled>(*translated, any_case);
}

bool NamePattern::IsFoundIn(std::string_view name) const {
  if (compiled_ == nullptr || !compiled_->good) return false;
  return ::regexec(&compiled_->regex, std::string(name).c_str(), 0, nullptr, 0) == 0;
}

}  // namespace gantry::formats
