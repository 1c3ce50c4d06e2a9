// SPDX-License-Identifier: Apache-2.0
// fuzz: formats/resctrl.cc
#include <cstddef>
#include <cstdint>

#include "formats/resctrl.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  (void)gantry::formats::ParseResctrlSchemata(text);
  return 0;
}
