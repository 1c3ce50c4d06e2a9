// SPDX-License-Identifier: Apache-2.0
//
// ParseDbusText of dbus_message.h:
//
//   value  = ["@" type] plain | keyword plain
//   plain  = "true" | "false" | number | quoted | "[" [value {"," value}] "]"
//          | "(" value {"," value} [","] ")"
//   quoted = "'" {character | "\" character} "'", or the same in double quotes
#include <algorithm>
#include <charconv>
#include <limits>

#include "formats/dbus_message.h"

namespace gantry::formats {
namespace {

constexpr int kMaxTextDepth = 16;

struct Keyword {
  std::string_view word;
  std::string_view type;
};

constexpr Keyword kKeywords[] = {
    {"boolean", "b"}, {"byte", "y"},       {"int16", "n"},     {"uint16", "q"}, {"int32", "i"},
    {"uint32", "u"},  {"int64", "x"},      {"uint64", "t"},    {"double", "d"}, {"string", "s"},
    {"handle", "h"},  {"objectpath", "o"}, {"signature", "g"},
};

class TextParser {
 public:
  explicit TextParser(std::string_view text) : rest_(text) {}

  Result<DbusValue> Whole() {
    DbusValue value = TRY(Value("", 0));
    SkipSpace();
    if (!rest_.empty()) return Fault("something follows the value");
    if (!IsDbusType(value.signature)) return Fault("its type is too long");
    return value;
  }

 private:
  Error Fault(std::string_view what) const {
    return InvalidArgument("{} at '{}'", what, rest_.substr(0, 20));
  }
  void SkipSpace() {
    while (!rest_.empty() && (rest_[0] == ' ' || rest_[0] == '\t')) rest_.remove_prefix(1);
  }
  bool Accept(char c) {
    SkipSpace();
    if (!rest_.starts_with(c)) return false;
    rest_.remove_prefix(1);
    return true;
  }
  // What is neither space nor punctuation.
  std::string_view Word() {
    SkipSpace();
    size_t size = std::min(rest_.find_first_of(" \t,[]()'\"@"), rest_.size());
    std::string_view word = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return word;
  }

  // `type`: what is asked for; "": what the text says.
  Result<DbusValue> Value(std::string_view type, int depth) {
    if (depth > kMaxTextDepth) return Fault("nested too deeply");
    SkipSpace();
    if (Accept('@')) {
      size_t size = std::min(rest_.find(' '), rest_.size());
      std::string asked(rest_.substr(0, size));
      if (!IsDbusType(asked) || (!type.empty() && type != asked)) return Fault("bad type");
      rest_.remove_prefix(size);
      return Value(asked, depth + 1);
    }
    if (rest_.empty()) return Fault("a value is missing");
    if (rest_[0] == '\'' || rest_[0] == '"') return Text(type);
    if (Accept('[')) return List(type, depth);
    if (Accept('(')) return Tuple(type, depth);
    std::string_view before = rest_;
    std::string_view word = Word();
    for (const Keyword& keyword : kKeywords) {
      if (word != keyword.word) continue;
      if (!type.empty() && type != keyword.type) return Fault("another type");
      return Value(keyword.type, depth + 1);
    }
    if (word == "true" || word == "false") {
      if (!type.empty() && type != "b") return Fault("a boolean is not what is asked for");
      return DbusValue::Bool(word == "true");
    }
    rest_ = before;
    return Number(type);
  }

  Result<DbusValue> Text(std::string_view type) {
    std::string_view kind = type.empty() ? "s" : type;
    if (kind != "s" && kind != "o" && kind != "g")
      return Fault("a string is not what is asked for");
    char quote = rest_[0];
    rest_.remove_prefix(1);
    std::string text;
    while (!rest_.empty() && rest_[0] != quote) {
      if (rest_[0] == '\\') {
        rest_.remove_prefix(1);
        // Only escapes that mean themselves; \n, \u… have no use in a property.
        if (rest_.empty() || std::string_view("\\'\"").find(rest_[0]) == std::string_view::npos) {
          return Fault("unknown escape");
        }
      }
      if (static_cast<unsigned char>(rest_[0]) < 0x20) return Fault("a control character");
      text += rest_[0];
      rest_.remove_prefix(1);
    }
    if (rest_.empty()) return Fault("a quote is not closed");
    rest_.remove_prefix(1);
    return DbusValue{std::string(kind), std::move(text)};
  }

  Result<DbusValue> List(std::string_view type, int depth) {
    if (!type.empty() && !type.starts_with('a')) return Fault("a list is not what is asked for");
    std::string element(type.empty() ? type : type.substr(1));
    std::vector<DbusValue> parts;
    while (!Accept(']')) {
      if (!parts.empty() && !Accept(',')) return Fault("a comma is missing");
      parts.push_back(TRY(Value(element, depth + 1)));
      // The first element's type is that of all.
      element = parts.back().signature;
    }
    if (element.empty()) return Fault("an empty list without a type");
    return DbusValue::Array(element, std::move(parts));
  }

  Result<DbusValue> Tuple(std::string_view type, int depth) {
    std::vector<DbusValue> parts;
    while (!Accept(')')) {
      if (!parts.empty() && !Accept(',')) return Fault("a comma is missing");
      if (!parts.empty() && Accept(')')) break;
      parts.push_back(TRY(Value("", depth + 1)));
    }
    if (parts.empty()) return Fault("an empty tuple");
    DbusValue tuple = DbusValue::Struct(std::move(parts));
    if (!type.empty() && type != tuple.signature) return Fault("another type");
    return tuple;
  }

  template <typename T, typename Stored>
  Result<DbusValue> Whole(std::string_view word, std::string_view type) {
    T number{};
    auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), number);
    if (word.empty() || error != std::errc() || end != word.data() + word.size()) {
      return InvalidArgument("'{}' is not a value of type '{}'", word, type);
    }
    return DbusValue{std::string(type), static_cast<Stored>(number)};
  }

  Result<DbusValue> Number(std::string_view type) {
    std::string_view word = Word();
    if (type.empty()) type = word.find_first_of(".eE") == std::string_view::npos ? "i" : "d";
    if (type.size() == 1) {
      switch (type[0]) {
        case 'y':
          return Whole<uint8_t, uint64_t>(word, type);
        case 'n':
          return Whole<int16_t, int64_t>(word, type);
        case 'q':
          return Whole<uint16_t, uint64_t>(word, type);
        case 'i':
          return Whole<int32_t, int64_t>(word, type);
        case 'u':
          return Whole<uint32_t, uint64_t>(word, type);
        case 'x':
          return Whole<int64_t, int64_t>(word, type);
        case 't':
          return Whole<uint64_t, uint64_t>(word, type);
        case 'd':
          return Whole<double, double>(word, type);
        default:
          break;
      }
    }
    return InvalidArgument("'{}' is not a value of type '{}'", word, type);
  }

  std::string_view rest_;
};

}  // namespace

Result<DbusValue> ParseDbusText(std::string_view text) {
  return TRY_WITH(TextParser(text).Whole(), "value '{}'", text);
}

}  // namespace gantry::formats
