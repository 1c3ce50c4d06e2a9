// SPDX-License-Identifier: Apache-2.0
#include "formats/toml.h"

#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_FORMATTERS 0
#include <toml++/toml.h>

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

}  // namespace

Result<Json> ParseToml(std::string_view text) {
  toml::parse_result parsed = toml::parse(text);
  if (!parsed) {
    const auto& error = parsed.error();
    return InvalidArgument("line {}, column {}: {}", error.source().begin.line,
                           error.source().begin.column, error.description());
  }
  return Convert(parsed.table());
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
