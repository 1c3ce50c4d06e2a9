// SPDX-License-Identifier: Apache-2.0
// fuzz: cmd/gantry-runtime/table.cc
#include <cstddef>
#include <cstdint>

#include "cmd/gantry-runtime/table.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  (void)gantry::cmd::ProcessesOfTable(text, {1, 77});
  return 0;
}
