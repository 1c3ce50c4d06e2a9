// SPDX-License-Identifier: Apache-2.0
//
// Any bytes as a config.json: parse, check, and write back what was accepted.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "oci/runtime_spec.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  auto json = gantry::formats::Json::Parse({reinterpret_cast<const char*>(data), size});
  if (!json.ok()) return 0;
  auto spec = gantry::oci::ParseSpec(*json);
  if (!spec.ok()) return 0;
  CHECK(gantry::oci::ParseSpec(gantry::oci::ToJson(*spec)).ok());
  return 0;
}
