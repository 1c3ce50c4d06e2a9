// SPDX-License-Identifier: Apache-2.0
#include "formats/toml_scanner.h"

#include <algorithm>

#include "base/text.h"

namespace gantry::formats {
namespace {

bool IsBare(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '-';
}

void AppendUtf8(uint32_t code, std::string* out) {
  auto tail = [&](int shift) { *out += static_cast<char>(0x80 | ((code >> shift) & 0x3f)); };
  if (code < 0x80) {
    *out += static_cast<char>(code);
  } else if (code < 0x800) {
    *out += static_cast<char>(0xc0 | (code >> 6));
    tail(0);
  } else if (code < 0x10000) {
    *out += static_cast<char>(0xe0 | (code >> 12));
    tail(6);
    tail(0);
  } else {
    *out += static_cast<char>(0xf0 | (code >> 18));
    tail(12);
    tail(6);
    tail(0);
  }
}

}  // namespace

Result<TomlScanner> TomlScanner::Create(std::string_view text) {
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);  // a byte order mark
  TomlScanner scanner{std::string()};
  std::string& kept = scanner.text_;
  kept.reserve(text.size());
  while (!text.empty()) {
    size_t size = Utf8Length(text);
    bool line_end = text.starts_with("\r\n");
    char c = text.front();
    bool control = (static_cast<unsigned char>(c) < 0x20 && c != '\t' && c != '\n') || c == 0x7f;
    if (size == 0 || (control && !line_end)) {
      return scanner.FaultAt(kept.size(), size == 0 ? "this is not UTF-8" : "a control character");
    }
    if (!line_end) kept += text.substr(0, size);
    text.remove_prefix(size);
  }
  return scanner;
}

bool TomlScanner::Take(char c) {
  if (at_end() || text_[at_] != c) return false;
  ++at_;
  return true;
}

bool TomlScanner::Take(std::string_view word) {
  if (text_.compare(at_, word.size(), word) != 0) return false;
  at_ += word.size();
  return true;
}

void TomlScanner::SkipBlanks() {
  while (Take(' ') || Take('\t')) {
  }
}

void TomlScanner::SkipLines() {
  while (true) {
    SkipBlanks();
    if (peek() == '#') at_ = std::min(text_.find('\n', at_), text_.size());
    if (!Take('\n')) return;
  }
}

Result<> TomlScanner::ExpectLineEnd() {
  SkipBlanks();
  if (at_end() || peek() == '\n' || peek() == '#') return {};
  return Fault("expected the end of the line");
}

Result<std::vector<std::string>> TomlScanner::ReadKey() {
  std::vector<std::string> parts;
  do {
    SkipBlanks();
    parts.push_back(TRY(ReadKeyPart()));
    SkipBlanks();
  } while (Take('.'));
  return parts;
}

Result<std::string> TomlScanner::ReadKeyPart() {
  if (peek() == '"' || peek() == '\'') {
    if (text_.compare(at_, 3, std::string(3, peek())) == 0) return Fault("a key of several lines");
    return ReadString();
  }
  size_t begin = at_;
  while (!at_end() && IsBare(text_[at_])) ++at_;
  if (at_ == begin) return Fault("expected a key");
  return text_.substr(begin, at_ - begin);
}

std::string_view TomlScanner::ReadWord() {
  size_t begin = at_;
  constexpr std::string_view kEnds = " \t\n,[]{}#=\"'";
  auto skip = [&] { at_ = std::min(text_.find_first_of(kEnds, at_), text_.size()); };
  skip();
  // A date may be followed by a blank and a time.
  bool date = at_ - begin == 10 && text_[begin + 4] == '-' && text_[begin + 7] == '-';
  if (date && peek() == ' ' && at_ + 1 < text_.size() && text_[at_ + 1] >= '0' &&
      text_[at_ + 1] <= '9') {
    ++at_;
    skip();
  }
  return std::string_view(text_).substr(begin, at_ - begin);
}

Result<std::string> TomlScanner::ReadString() {
  char quote = peek();
  size_t begin = at_;
  if (Take(std::string(3, quote))) return ReadLines(quote);
  ++at_;
  std::string out;
  while (!at_end() && peek() != '\n') {
    if (Take(quote)) return out;
    if (quote == '"' && peek() == '\\') {
      TRY(ReadEscape(false, &out));
    } else {
      out += text_[at_++];
    }
  }
  return FaultAt(begin, "the string does not end in its line");
}

// After the three quotes. A line end directly after them is not a part of it; up to two quotes may
// stand before the three at its end.
Result<std::string> TomlScanner::ReadLines(char quote) {
  size_t begin = at_ - 3;
  Take('\n');
  std::string end(3, quote);
  std::string out;
  while (!at_end()) {
    if (Take(end)) {
      for (int more = 0; more < 2 && Take(quote); ++more) out += quote;
      return out;
    }
    if (quote == '"' && peek() == '\\') {
      TRY(ReadEscape(true, &out));
    } else {
      out += text_[at_++];
    }
  }
  return FaultAt(begin, "the string does not end");
}

Result<> TomlScanner::ReadEscape(bool in_lines, std::string* out) {
  constexpr std::string_view kNames = "btnfr\"\\";
  constexpr std::string_view kMeant = "\b\t\n\f\r\"\\";
  size_t begin = at_++;
  if (in_lines) {
    // A backslash at a line's end takes all blanks and line ends after it away.
    size_t next = text_.find_first_not_of(" \t", at_);
    if (next != std::string::npos && text_[next] == '\n') {
      at_ = std::min(text_.find_first_not_of(" \t\n", next), text_.size());
      return {};
    }
  }
  size_t name = kNames.find(peek());
  if (!at_end() && name != std::string_view::npos) {
    ++at_;
    *out += kMeant[name];
    return {};
  }
  if (Take('u')) return ReadCodePoint(4, out);
  if (Take('U')) return ReadCodePoint(8, out);
  return FaultAt(begin, "there is no such escape");
}

Result<> TomlScanner::ReadCodePoint(size_t digits, std::string* out) {
  size_t begin = at_;
  uint32_t code = 0;
  for (size_t i = 0; i < digits; ++i, ++at_) {
    char c = peek();
    uint32_t digit = 0;
    if (c >= '0' && c <= '9') {
      digit = static_cast<uint32_t>(c - '0');
    } else if ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F')) {
      digit = static_cast<uint32_t>((c | 0x20) - 'a') + 10;
    } else {
      return FaultAt(
          begin, digits == 4 ? "expected 4 hexadecimal digits" : "expected 8 hexadecimal digits");
    }
    code = code << 4 | digit;
  }
  if (code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) {
    return FaultAt(begin, "this is no character");
  }
  AppendUtf8(code, out);
  return {};
}

int TomlScanner::line() const {
  if (at_ < counted_to_) counted_to_ = 0, counted_lines_ = 1;
  auto from = text_.begin() + static_cast<ptrdiff_t>(counted_to_);
  auto to = text_.begin() + static_cast<ptrdiff_t>(at_);
  counted_lines_ += static_cast<int>(std::count(from, to, '\n'));
  counted_to_ = at_;
  return counted_lines_;
}

Error TomlScanner::FaultAt(size_t position, std::string_view what) const {
  std::string_view before = std::string_view(text_).substr(0, position);
  size_t line_begin = before.rfind('\n') + 1;  // npos + 1 is 0
  // Columns count characters.
  auto column = std::count_if(before.begin() + static_cast<ptrdiff_t>(line_begin), before.end(),
                              [](char c) { return (c & 0xc0) != 0x80; });
  return InvalidArgument("line {}, column {}: {}",
                         std::count(before.begin(), before.end(), '\n') + 1, column + 1, what);
}

}  // namespace gantry::formats
