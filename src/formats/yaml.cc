// SPDX-License-Identifier: Apache-2.0
#include "formats/yaml.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <string>
#include <vector>

#include "base/text.h"

namespace gantry::formats {
namespace {

constexpr int kMaxYamlDepth = 64;

struct YamlLine {
  size_t number = 0;  // from 1
  size_t indent = 0;
  std::string text;  // without indentation, comment and blanks at the end
  std::string raw;
  bool blank = false;
  bool tab = false;  // within the indentation
};

bool StartsToken(char before) {
  return std::string_view(" \t[{,:-").find(before) != std::string_view::npos;
}

// Where a comment begins: '#' at the start or after a blank, not within quotes.
std::string_view WithoutComment(std::string_view line) {
  char quote = 0;
  for (size_t i = 0; i < line.size(); ++i) {
    char c = line[i];
    if (quote == '"' && c == '\\') {
      ++i;
    } else if (quote != 0) {
      if (c == quote) quote = 0;
    } else if ((c == '"' || c == '\'') && (i == 0 || StartsToken(line[i - 1]))) {
      quote = c;
    } else if (c == '#' && (i == 0 || line[i - 1] == ' ' || line[i - 1] == '\t')) {
      return line.substr(0, i);
    }
  }
  return line;
}

// Where the ':' is that ends a plain key; npos for none.
size_t PlainKeyEnd(std::string_view text) {
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == ':' && (i + 1 == text.size() || text[i + 1] == ' ')) return i;
  }
  return std::string_view::npos;
}

// The index behind a quoted scalar that begins the text; npos when it does not end.
size_t QuotedEnd(std::string_view text) {
  char quote = text[0];
  for (size_t i = 1; i < text.size(); ++i) {
    if (quote == '"' && text[i] == '\\') {
      ++i;
    } else if (text[i] == quote) {
      // '' within single quotes is one of them.
      if (quote == '\'' && i + 1 < text.size() && text[i + 1] == '\'') {
        ++i;
      } else {
        return i + 1;
      }
    }
  }
  return std::string_view::npos;
}

size_t KeyEnd(std::string_view text) {
  if (text[0] != '"' && text[0] != '\'') return PlainKeyEnd(text);
  size_t end = QuotedEnd(text);
  if (end == std::string_view::npos) return end;
  size_t colon = text.find_first_not_of(' ', end);
  bool key = colon != std::string_view::npos && text[colon] == ':' &&
             (colon + 1 == text.size() || text[colon + 1] == ' ');
  return key ? colon : std::string_view::npos;
}

bool IsItem(std::string_view text) { return text == "-" || text.starts_with("- "); }

void AppendCodePoint(uint32_t code, std::string* out) {
  auto put = [out](uint32_t byte) { out->push_back(static_cast<char>(byte)); };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xc0 | code >> 6);
    put(0x80 | (code & 0x3f));
  } else {
    put(0xe0 | code >> 12);
    put(0x80 | (code >> 6 & 0x3f));
    put(0x80 | (code & 0x3f));
  }
}

bool Among(std::string_view word, std::initializer_list<std::string_view> words) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

Json PlainNumber(std::string_view text) {
  std::string_view digits = text;
  bool negative = digits.starts_with('-');
  if (negative || digits.starts_with('+')) digits.remove_prefix(1);
  if (digits.empty() || digits[0] < '0' || digits[0] > '9') return std::string(text);
  int base = 10;
  std::string_view rest = digits;
  if (digits.starts_with("0x")) {
    base = 16;
    rest = digits.substr(2);
  } else if (digits.starts_with("0o")) {
    base = 8;
    rest = digits.substr(2);
  } else if (digits.size() > 1 && digits[0] == '0') {
    base = 8;
    rest = digits.substr(1);
  }
  uint64_t value = 0;
  auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), value, base);
  if (error == std::errc() && end == rest.data() + rest.size()) {
    constexpr uint64_t kMost = uint64_t{1} << 63;
    if (!negative) return value;
    if (value <= kMost) return static_cast<int64_t>(~value + 1);
  }
  bool decimal = digits.find_first_not_of("0123456789.eE+-") == std::string_view::npos &&
                 std::count(digits.begin(), digits.end(), '.') <= 1;
  double number = 0;
  auto [stop, wrong] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (decimal && wrong == std::errc() && stop == digits.data() + digits.size()) {
    return negative ? -number : number;
  }
  return std::string(text);
}

Json PlainScalar(std::string_view text) {
  if (Among(text, {"", "~", "null", "Null", "NULL"})) return Json();
  if (Among(text, {"true", "True", "TRUE"})) return true;
  if (Among(text, {"false", "False", "FALSE"})) return false;
  return PlainNumber(text);
}

class YamlParser {
 public:
  explicit YamlParser(std::string_view text) {
    size_t number = 0;
    for (std::string& raw : Split(text, '\n')) {
      YamlLine line;
      line.number = ++number;
      if (raw.ends_with('\r')) raw.pop_back();
      line.raw = std::move(raw);
      std::string_view seen = WithoutComment(line.raw);
      line.indent = std::min(seen.find_first_not_of(' '), seen.size());
      line.text = Trim(seen.substr(line.indent));
      line.tab = line.indent < seen.size() && seen[line.indent] == '\t';
      line.blank = line.text.empty();
      lines_.push_back(std::move(line));
    }
  }

  Result<Json> Run() {
    if (!AtEnd() && lines_[at_].text == "---" && lines_[at_].indent == 0) ++at_;
    if (AtEnd()) return Json();
    Json out = TRY(ParseBlock(lines_[at_].indent, 0));
    if (!AtEnd()) {
      bool other = lines_[at_].text == "---" || lines_[at_].text == "...";
      return other ? Wrong("more than one document is not supported")
                   : Wrong("unexpected indentation");
    }
    return out;
  }

 private:
  // Goes on to the next line that says something.
  bool AtEnd() {
    while (at_ < lines_.size() && lines_[at_].blank) ++at_;
    return at_ == lines_.size();
  }

  Error Wrong(std::string_view what) const {
    size_t number = lines_.empty() ? 0 : lines_[std::min(at_, lines_.size() - 1)].number;
    return InvalidArgument("line {}: {}", number, what);
  }

  // What begins at the present line, all of whose lines have this indentation.
  Result<Json> ParseBlock(size_t indent, int depth) {
    if (depth > kMaxYamlDepth) return Wrong("nested too deeply");
    const std::string& text = lines_[at_].text;
    if (lines_[at_].tab) return Wrong("a tab as indentation");
    if (IsItem(text)) return ParseSequence(indent, depth);
    if (text[0] != '[' && text[0] != '{' && KeyEnd(text) != std::string::npos) {
      return ParseMapping(indent, depth);
    }
    std::string value = text;
    return ParseValue(std::move(value), indent, depth);
  }

  Result<Json> ParseSequence(size_t indent, int depth) {
    Json out = Json::MakeArray();
    while (!AtEnd() && lines_[at_].indent == indent && IsItem(lines_[at_].text)) {
      YamlLine& line = lines_[at_];
      size_t skip = line.text.find_first_not_of(' ', 1);
      if (skip == std::string::npos) {
        ++at_;
        bool nested = !AtEnd() && lines_[at_].indent > indent;
        out.Append(nested ? TRY(ParseBlock(lines_[at_].indent, depth + 1)) : Json());
        continue;
      }
      if (line.text[skip] == '|' || line.text[skip] == '>') {
        std::string head = line.text.substr(skip);
        out.Append(TRY(ParseBlockScalar(head, indent)));
        continue;
      }
      // "- key: value" is a block of its own, that begins behind the dash.
      line.indent += skip;
      line.text.erase(0, skip);
      out.Append(TRY(ParseBlock(line.indent, depth + 1)));
    }
    return out;
  }

  Result<Json> ParseMapping(size_t indent, int depth) {
    Json out = Json::MakeObject();
    while (!AtEnd() && lines_[at_].indent == indent && !IsItem(lines_[at_].text)) {
      std::string text = lines_[at_].text;
      if (lines_[at_].tab) return Wrong("a tab as indentation");
      if (text == "---" || text == "...") break;
      size_t colon = KeyEnd(text);
      if (colon == std::string::npos) return Wrong("expected 'key: value'");
      std::string_view name = Trim(std::string_view(text).substr(0, colon));
      if (name.starts_with('?')) return Wrong("complex keys are not supported");
      std::string key = TRY(ParseKey(name));
      if (out.Find(key) != nullptr) return Wrong(fmt::format("the key '{}' comes twice", key));
      std::string value(Trim(std::string_view(text).substr(colon + 1)));
      if (!value.empty()) {
        out.Set(key, TRY(ParseValue(std::move(value), indent, depth + 1)));
        continue;
      }
      ++at_;
      bool nested = !AtEnd() && (lines_[at_].indent > indent ||
                                 (lines_[at_].indent == indent && IsItem(lines_[at_].text)));
      out.Set(key, nested ? TRY(ParseBlock(lines_[at_].indent, depth + 1)) : Json());
    }
    if (!AtEnd() && lines_[at_].indent > indent) return Wrong("unexpected indentation");
    return out;
  }

  Result<std::string> ParseKey(std::string_view text) {
    if (text.starts_with('"') || text.starts_with('\'')) return ParseQuoted(text);
    TRY(CheckPlain(text));
    return std::string(text);
  }

  // A scalar or a flow collection that begins on the present line.
  Result<Json> ParseValue(std::string value, size_t indent, int depth) {
    if (value[0] == '|' || value[0] == '>') return ParseBlockScalar(value, indent);
    if (value[0] != '[' && value[0] != '{') {
      Json out = TRY(ParseScalar(value));
      ++at_;
      if (!AtEnd() && lines_[at_].indent > indent) {
        return Wrong("scalars over several lines are not supported");
      }
      return out;
    }
    size_t first = at_++;
    while (!Balanced(value)) {
      if (AtEnd()) {
        at_ = first;
        return Wrong("a bracket is not closed");
      }
      value += " " + lines_[at_++].text;
    }
    std::string_view rest = value;
    Json out = TRY(ParseFlow(&rest, depth));
    if (!Trim(rest).empty()) return Wrong("text after the closing bracket");
    return out;
  }

  static bool Balanced(std::string_view text) {
    int open = 0;
    for (size_t i = 0; i < text.size(); ++i) {
      char c = text[i];
      if ((c == '"' || c == '\'') && (i == 0 || StartsToken(text[i - 1]))) {
        size_t end = QuotedEnd(text.substr(i));
        if (end == std::string_view::npos) return true;  // said by ParseQuoted
        i += end - 1;
      }
      if (c == '[' || c == '{') ++open;
      if (c == ']' || c == '}') --open;
    }
    return open <= 0;
  }

  Result<Json> ParseFlow(std::string_view* rest, int depth) {
    if (depth > kMaxYamlDepth) return Wrong("nested too deeply");
    *rest = Trim(*rest);
    if (rest->starts_with('[')) return ParseFlowSequence(rest, depth);
    if (rest->starts_with('{')) return ParseFlowMapping(rest, depth);
    if (rest->starts_with('"') || rest->starts_with('\'')) {
      size_t end = QuotedEnd(*rest);
      Json out = TRY(ParseQuoted(rest->substr(0, end)));
      rest->remove_prefix(std::min(end, rest->size()));
      return out;
    }
    size_t end = std::min(rest->find_first_of(",]}"), rest->size());
    Json out = TRY(ParseScalar(Trim(rest->substr(0, end))));
    rest->remove_prefix(end);
    return out;
  }

  Result<Json> ParseFlowSequence(std::string_view* rest, int depth) {
    Json out = Json::MakeArray();
    rest->remove_prefix(1);
    for (;;) {
      *rest = Trim(*rest);
      if (rest->starts_with(']')) break;
      if (rest->empty()) return Wrong("a bracket is not closed");
      out.Append(TRY(ParseFlow(rest, depth + 1)));
      if (!TRY(Comma(rest, ']'))) break;
    }
    rest->remove_prefix(1);
    return out;
  }

  Result<Json> ParseFlowMapping(std::string_view* rest, int depth) {
    Json out = Json::MakeObject();
    rest->remove_prefix(1);
    for (;;) {
      *rest = Trim(*rest);
      if (rest->starts_with('}')) break;
      if (rest->empty()) return Wrong("a bracket is not closed");
      bool quoted = (*rest)[0] == '"' || (*rest)[0] == '\'';
      size_t end = quoted ? QuotedEnd(*rest) : rest->find_first_of(":,}");
      if (end == std::string_view::npos) return Wrong("expected 'key: value'");
      std::string key = TRY(ParseKey(Trim(rest->substr(0, end))));
      rest->remove_prefix(end);
      *rest = Trim(*rest);
      if (!rest->starts_with(':')) return Wrong("expected 'key: value'");
      rest->remove_prefix(1);
      if (out.Find(key) != nullptr) return Wrong(fmt::format("the key '{}' comes twice", key));
      out.Set(key, TRY(ParseFlow(rest, depth + 1)));
      if (!TRY(Comma(rest, '}'))) break;
    }
    rest->remove_prefix(1);
    return out;
  }

  // Whether another member follows; else `closing` is next.
  Result<bool> Comma(std::string_view* rest, char closing) {
    *rest = Trim(*rest);
    if (rest->starts_with(closing)) return false;
    if (!rest->starts_with(',')) return Wrong("expected ',' or a closing bracket");
    rest->remove_prefix(1);
    return true;
  }

  Result<> CheckPlain(std::string_view text) const {
    if (text.empty()) return {};
    switch (text[0]) {
      case '&':
      case '*':
        return Wrong("anchors and aliases are not supported");
      case '!':
        return Wrong("tags are not supported");
      case '%':
      case '@':
      case '`':
        return Wrong(fmt::format("a scalar can't begin with '{}'", text[0]));
      default:
        return {};
    }
  }

  Result<Json> ParseScalar(std::string_view text) {
    if (text.starts_with('"') || text.starts_with('\'')) return Json(TRY(ParseQuoted(text)));
    TRY(CheckPlain(text));
    return PlainScalar(text);
  }

  // All of the text is one quoted scalar.
  Result<std::string> ParseQuoted(std::string_view text) {
    if (QuotedEnd(text) != text.size()) {
      return Wrong(QuotedEnd(text) == std::string_view::npos ? "a quote is not closed"
                                                             : "text after the closing quote");
    }
    std::string_view inner = text.substr(1, text.size() - 2);
    std::string out;
    for (size_t i = 0; i < inner.size(); ++i) {
      if (text[0] == '\'' && inner[i] == '\'') ++i;
      if (text[0] == '"' && inner[i] == '\\') {
        TRY(ParseEscape(inner, &i, &out));
      } else {
        out.push_back(inner[i]);
      }
    }
    return out;
  }

  // `at` is that of the backslash and becomes that of the escape's last character.
  Result<> ParseEscape(std::string_view text, size_t* at, std::string* out) {
    char kind = text[++*at];
    constexpr std::string_view kKinds = "0abtnvfre\"/\\ ";
    constexpr std::string_view kValues("\0\a\b\t\n\v\f\r\x1b\"/\\ ", 13);
    size_t known = kKinds.find(kind);
    if (known != std::string_view::npos) {
      out->push_back(kValues[known]);
      return {};
    }
    size_t digits = kind == 'x' ? 2 : kind == 'u' ? 4 : 0;
    uint32_t code = 0;
    std::string_view hex = text.substr(std::min(*at + 1, text.size()), digits);
    auto [end, error] = std::from_chars(hex.data(), hex.data() + hex.size(), code, 16);
    bool surrogate = code >= 0xd800 && code < 0xe000;
    if (digits == 0 || hex.size() != digits || error != std::errc() || end != hex.data() + digits ||
        surrogate) {
      return Wrong(fmt::format("unknown escape '\\{}'", kind));
    }
    AppendCodePoint(code, out);
    *at += digits;
    return {};
  }

  // "|" keeps the ends of lines, ">" makes blanks of them; "-" drops the last, "+" keeps all.
  Result<Json> ParseBlockScalar(std::string_view head, size_t indent) {
    bool folded = head[0] == '>';
    char chomp = head.size() > 1 ? head[1] : ' ';
    if (head.size() > 2 || (head.size() == 2 && chomp != '-' && chomp != '+')) {
      return Wrong("only '|', '>', and '-' or '+' after them are supported");
    }
    std::vector<std::string> rows;
    size_t own = 0;
    for (++at_; at_ < lines_.size(); ++at_) {
      const std::string& raw = lines_[at_].raw;
      size_t begin = raw.find_first_not_of(' ');
      if (begin == std::string::npos) {
        rows.emplace_back();
        continue;
      }
      if (own == 0) own = begin;
      if (begin <= indent || begin < own) break;
      rows.push_back(raw.substr(own));
    }
    size_t blanks = 0;
    while (!rows.empty() && rows.back().empty()) {
      rows.pop_back();
      ++blanks;
    }
    std::string out;
    for (size_t i = 0; i < rows.size(); ++i) {
      out += rows[i];
      bool last = i + 1 == rows.size();
      if (last) continue;
      // Folded, a line's end becomes a blank, or nothing before an empty line.
      bool folds = folded && !rows[i].empty();
      out += !folds ? "\n" : rows[i + 1].empty() ? "" : " ";
    }
    if (chomp != '-' && !rows.empty()) out += "\n";
    if (chomp == '+') out.append(blanks, '\n');
    return Json(std::move(out));
  }

  std::vector<YamlLine> lines_;
  size_t at_ = 0;
};

}  // namespace

Result<Json> ParseYaml(std::string_view text) { return YamlParser(text).Run(); }

}  // namespace gantry::formats
