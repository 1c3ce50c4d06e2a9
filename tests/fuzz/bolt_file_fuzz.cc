// SPDX-License-Identifier: Apache-2.0
//
// Bytes as a bolt file.
#include <cstdint>
#include <string_view>

#include "formats/bolt_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view bytes(reinterpret_cast<const char*>(data), size);
  (void)gantry::formats::ReadBoltBucket(bytes, "volumes");
  return 0;
}
