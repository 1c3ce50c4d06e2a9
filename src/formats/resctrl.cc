// SPDX-License-Identifier: Apache-2.0
#include "formats/resctrl.h"

#include <algorithm>
#include <charconv>

#include "base/text.h"

namespace gantry::formats {
namespace {

// The next part of `text`, which loses it.
std::string_view Take(std::string_view* text, char separator) {
  std::string_view part = text->substr(0, text->find(separator));
  text->remove_prefix(std::min(part.size() + 1, text->size()));
  return Trim(part);
}

}  // namespace

Result<ResctrlSchema> ParseResctrlSchema(std::string_view line) {
  size_t colon = line.find(':');
  if (colon == std::string_view::npos) return InvalidArgument("'{}' is no line of schemata", line);
  ResctrlSchema schema;
  schema.resource = Trim(line.substr(0, colon));
  int base = schema.resource.starts_with('L') ? 16 : 10;
  std::string_view rest = line.substr(colon + 1);
  while (!rest.empty()) {
    std::string_view part = Take(&rest, ';');
    if (part.empty()) continue;
    std::string_view cache = Take(&part, '=');
    std::string_view number = Trim(part);  // the kernel aligns bandwidths
    if (base == 16 && number.starts_with("0x")) number.remove_prefix(2);
    uint64_t value = 0;
    auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), value, base);
    if (cache.empty() || number.empty() || error != std::errc() ||
        end != number.data() + number.size()) {
      return InvalidArgument("'{}' is no line of schemata", line);
    }
    schema.values[std::string(cache)] = value;
  }
  return schema;
}

Result<std::vector<ResctrlSchema>> ParseResctrlSchemata(std::string_view text) {
  std::vector<ResctrlSchema> schemata;
  while (!text.empty()) {
    std::string_view line = Take(&text, '\n');
    if (!line.empty()) schemata.push_back(TRY(ParseResctrlSchema(line)));
  }
  return schemata;
}

}  // namespace gantry::formats
