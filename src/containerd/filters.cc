// SPDX-License-Identifier: Apache-2.0
#include "containerd/filters.h"

#include <re2/re2.h>

namespace gantry::containerd {
namespace {

constexpr size_t kMaxFilterBytes = 64 << 10;
constexpr int64_t kMaxPatternMemory = 1 << 20;

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsWordStart(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (c & 0x80) != 0;
}
// What may be in an unquoted path component or value.
bool IsFieldByte(char c) { return IsWordStart(c) || IsDigit(c); }
bool IsOperatorByte(char c) { return c == '=' || c == '!' || c == '~'; }
bool IsValueByte(char c) { return static_cast<unsigned char>(c) > ' ' && c != ',' && c != 0x7f; }

}  // namespace

struct Filters::Pattern {
  explicit Pattern(const std::string& text) : regex(text, Options()) {}
  static RE2::Options Options() {
    RE2::Options options;
    options.set_log_errors(false);
    options.set_max_mem(kMaxPatternMemory);
    return options;
  }
  RE2 regex;
};

class Filters::Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Result<std::vector<Selector>> Parse() {
    std::vector<Selector> selectors;
    if (text_.size() > kMaxFilterBytes) return InvalidArgument("parsing filter: too long");
    while (true) {
      selectors.push_back(TRY(ParseSelector()));
      if (AtEnd()) return selectors;
      if (text_[at_] != ',') return Fail("expected ','");
      ++at_;
    }
  }

 private:
  bool AtEnd() const { return at_ >= text_.size(); }
  Error Fail(std::string_view what) const {
    return InvalidArgument("parsing filter '{}': {} at character {}", text_, what, at_ + 1);
  }

  // Space may stand before a field, an operator and a value; nothing else may have it around.
  void SkipSpace() {
    while (!AtEnd() && std::string_view(" \t\n\v\f\r").find(text_[at_]) != std::string_view::npos)
      ++at_;
  }

  Result<Selector> ParseSelector() {
    Selector selector;
    selector.path.push_back(TRY(ParseField()));
    while (!AtEnd() && text_[at_] == '.') {
      ++at_;
      selector.path.push_back(TRY(ParseField()));
    }
    if (AtEnd() || text_[at_] == ',') return selector;
    SkipSpace();
    size_t begin = at_;
    while (!AtEnd() && IsOperatorByte(text_[at_])) ++at_;
    std::string_view op = text_.substr(begin, at_ - begin);
    if (op == "==") {
      selector.op = Operator::kEqual;
    } else if (op == "!=") {
      selector.op = Operator::kNotEqual;
    } else if (op == "~=") {
      selector.op = Operator::kMatches;
    } else {
      at_ = begin;
      return Fail("expected '==', '!=' or '~='");
    }
    selector.value = TRY(ParseValue(selector.op == Operator::kMatches));
    if (selector.op == Operator::kMatches) {
      auto pattern = std::make_shared<Pattern>(selector.value);
      if (!pattern->regex.ok()) {
        return InvalidArgument("parsing filter '{}': {}", text_, pattern->regex.error());
      }
      selector.pattern = std::move(pattern);
    }
    return selector;
  }

  Result<std::string> ParseField() {
    SkipSpace();
    if (AtEnd()) return Fail("expected a field name");
    if (text_[at_] == '"') return ParseQuoted();
    size_t begin = at_;
    while (!AtEnd() && IsFieldByte(text_[at_])) ++at_;
    if (at_ == begin) return Fail("expected a field name");
    return std::string(text_.substr(begin, at_ - begin));
  }

  Result<std::string> ParseValue(bool is_pattern) {
    SkipSpace();
    if (AtEnd()) return Fail("expected a value");
    char first = text_[at_];
    if (first == '|' || first == '/') {
      // They quote patterns, and stand at the beginning of nothing else.
      return is_pattern ? ParseQuoted() : Result<std::string>(Fail("invalid quote"));
    }
    if (first == '"') return ParseQuoted();
    size_t begin = at_;
    while (!AtEnd() && IsValueByte(text_[at_])) ++at_;
    if (at_ == begin) return Fail("expected a value");
    return std::string(text_.substr(begin, at_ - begin));
  }

  // Go's escapes in "…"; between | or / only the quote itself can be escaped, so that a regular
  // expression keeps its backslashes.
  Result<std::string> ParseQuoted() {
    char quote = text_[at_++];
    std::string value;
    while (!AtEnd()) {
      char c = text_[at_++];
      if (c == quote) return value;
      if (c != '\\') {
        value += c;
        continue;
      }
      if (AtEnd()) break;
      char escaped = text_[at_++];
      if (quote != '"') {
        if (escaped != quote) value += '\\';
        value += escaped;
        continue;
      }
      TRY(AppendEscape(escaped, &value));
    }
    return Fail("quote is not closed");
  }

  Result<> AppendEscape(char escaped, std::string* value) {
    constexpr std::string_view kNames = "abfnrtv\\\"'";
    constexpr std::string_view kValues = "\a\b\f\n\r\t\v\\\"'";
    if (size_t index = kNames.find(escaped); index != std::string_view::npos) {
      *value += kValues[index];
      return {};
    }
    if (escaped != 'x' || at_ + 2 > text_.size()) return Fail("unknown escape");
    int number = 0;
    for (int i = 0; i < 2; ++i) {
      char c = text_[at_++];
      int digit = IsDigit(c)                               ? c - '0'
                  : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10
                                                           : -1;
      if (digit < 0) return Fail("unknown escape");
      number = number * 16 + digit;
    }
    *value += static_cast<char>(number);
    return {};
  }

  std::string_view text_;
  size_t at_ = 0;
};

Result<Filters> Filters::Parse(const std::vector<std::string>& texts) {
  Filters filters;
  for (const std::string& text : texts) {
    if (text.empty()) return Filters();  // one that matches everything
    filters.alternatives_.push_back(TRY(Parser(text).Parse()));
  }
  return filters;
}

bool Filters::Matches(const Selector& selector, const FieldLookup& lookup) {
  std::optional<std::string> value = lookup(selector.path);
  switch (selector.op) {
    case Operator::kPresent:
      return value.has_value();
    case Operator::kEqual:
      return value.has_value() && *value == selector.value;
    case Operator::kNotEqual:
      return value.value_or("") != selector.value;
    case Operator::kMatches:
      return value.has_value() && RE2::PartialMatch(*value, selector.pattern->regex);
  }
  return false;
}

bool Filters::Matches(const FieldLookup& lookup) const {
  if (alternatives_.empty()) return true;
  for (const auto& selectors : alternatives_) {
    bool all = true;
    for (const Selector& selector : selectors) {
      if (!Matches(selector, lookup)) {
        all = false;
        break;
      }
    }
    if (all) return true;
  }
  return false;
}

std::optional<std::string> FieldOf(std::string_view value) {
  if (value.empty()) return std::nullopt;
  return std::string(value);
}

}  // namespace gantry::containerd
