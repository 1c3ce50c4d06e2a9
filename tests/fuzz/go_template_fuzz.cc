// SPDX-License-Identifier: Apache-2.0
//
// Templates from any bytes, parsed and evaluated on a small document.
#include <cstddef>
#include <cstdint>

#include "formats/go_template.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using gantry::formats::GoTemplate;
  using gantry::formats::Json;
  static const Json kRoot = *Json::Parse(
      R"({"Id":"a","List":[1,"b",null,{"x":2.5}],"Map":{"k":"v"},"N":7,"T":true,"Z":null})");
  auto parsed = GoTemplate::Parse({reinterpret_cast<const char*>(data), size});
  if (parsed.ok()) (void)parsed->Execute(kRoot);
  return 0;
}
