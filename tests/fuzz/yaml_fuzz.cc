// SPDX-License-Identifier: Apache-2.0
//
// Any bytes as YAML.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "formats/yaml.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  auto json = gantry::formats::ParseYaml({reinterpret_cast<const char*>(data), size});
  if (json.ok()) (void)json->Dump();
  return 0;
}
