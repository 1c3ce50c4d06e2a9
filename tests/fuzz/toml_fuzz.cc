// SPDX-License-Identifier: Apache-2.0
//
// Any bytes as a configuration file; a string of it comes back from the literal that is written.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "formats/toml.h"

namespace {

using gantry::formats::Json;

void CheckStrings(const Json& json) {
  for (const Json& item : json.items()) CheckStrings(item);
  for (const auto& [key, value] : json.members()) {
    CheckStrings(value);
    if (!value.is_string()) continue;
    auto again = gantry::formats::ParseToml(gantry::formats::TomlKey(key) + " = " +
                                            gantry::formats::TomlString(value.AsString()));
    if (!again.ok() || (*again)[key].AsString() != value.AsString()) abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  auto json = gantry::formats::ParseToml({reinterpret_cast<const char*>(data), size});
  if (json.ok()) CheckStrings(*json);
  return 0;
}
