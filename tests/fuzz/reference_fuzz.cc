// SPDX-License-Identifier: Apache-2.0
//
// Whatever is accepted as a reference says the same when it is written and read again.
#include "formats/reference.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  auto reference = gantry::formats::ParseReference(text);
  if (!reference.ok()) return 0;
  for (const std::string& again : {reference->ToString(), reference->Familiar()}) {
    auto second = gantry::formats::ParseReference(again);
    if (!second.ok() || *second != *reference) __builtin_trap();
  }
  return 0;
}
