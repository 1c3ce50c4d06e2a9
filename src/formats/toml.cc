// SPDX-License-Identifier: Apache-2.0
#include "formats/toml.h"

namespace gantry::formats {
namespace {
// toml++ 3.3 asserts what bad input can break, such as the first character of "[*". Thrown instead,
// and caught below.
struct TomlCheckFailed {};
}  // namespace
}  // namespace gantry::formats

#define TOML_ASSERT(expr)                                  \
  do {                                                     \
    if (!(expr)) throw gantry::formats::TomlCheckFailed(); \
  } while (false)
#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_FORMATTERS 0
// Accessors that are noexcept check too; nothing here calls them without need.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wterminate"
#include <toml++/toml.h>
#pragma GCC diagnostic pop

#include <algorithm>
#include <sstream>

namespace gantry::formats {
namespace {

Json Convert(const toml::node& node) {
  if (const auto* table = node.as_table()) {
    Json object = Json::MakeObject();
    for (const auto& [key, value] : *table) object.Set(std::string(key.str()), Convert(value));
    return object;
  }
  if (const auto* array = node.as_array()) {
    Json::Array items;
    for (const auto& item : *array) items.push_back(Convert(item));
    return Json(std::move(items));
  }
  if (const auto* text = node.as_string()) return Json(text->get());
  if (const auto* integer = node.as_integer()) return Json(integer->get());
  if (const auto* number = node.as_floating_point()) return Json(number->get());
  if (const auto* boolean = node.as_boolean()) return Json(boolean->get());
  std::ostringstream out;
  if (const auto* date = node.as_date()) out << date->get();
  if (const auto* time = node.as_time()) out << time->get();
  if (const auto* both = node.as_date_time()) out << both->get();
  return Json(out.str());
}

// The end of the string that begins at `at`; an unclosed one of one line ends with the line.
size_t EndOfString(std::string_view text, size_t at) {
  std::string quote(3, text[at]);
  bool lines = text.substr(at, 3) == quote;
  if (!lines) quote.resize(1);
  bool escapes = text[at] == '"';
  for (size_t i = at + quote.size(); i < text.size(); ++i) {
    if (escapes && text[i] == '\\') {
      ++i;
    } else if (text.substr(i, quote.size()) == quote || (!lines && text[i] == '\n')) {
      return i + quote.size();
    }
  }
  return text.size();
}

// TOML has ASCII only outside of strings and comments, and there toml++ 3.3 is undefined for some
// of the rest.
Result<> CheckAscii(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    if (text[at] == '#') {
      at = std::min(text.find('\n', at), text.size());
    } else if (text[at] == '"' || text[at] == '\'') {
      at = EndOfString(text, at);
    } else if ((text[at] & 0x80) != 0) {
      auto line = std::count(text.begin(), text.begin() + static_cast<ptrdiff_t>(at), '\n') + 1;
      return InvalidArgument("line {}: only ASCII outside of strings and comments", line);
    } else {
      ++at;
    }
  }
  return {};
}

}  // namespace

Result<Json> ParseToml(std::string_view text) try {
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);  // a byte order mark
  TRY(CheckAscii(text));
  toml::parse_result parsed = toml::parse(text);
  if (!parsed) {
    const auto& error = parsed.error();
    return InvalidArgument("line {}, column {}: {}", error.source().begin.line,
                           error.source().begin.column, error.description());
  }
  return Convert(parsed.table());
} catch (const TomlCheckFailed&) {
  return InvalidArgument("a key or value begins with a character that it can't begin with");
}

std::string TomlString(std::string_view text) {
  // JSON's escapes are a part of TOML's.
  std::string literal;
  AppendJsonString(&literal, text);
  return literal;
}

std::string TomlKey(std::string_view key) {
  constexpr std::string_view kBare =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
  bool bare = !key.empty() && key.find_first_not_of(kBare) == std::string_view::npos;
  return bare ? std::string(key) : TomlString(key);
}

}  // namespace gantry::formats
