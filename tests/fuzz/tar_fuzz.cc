// SPDX-License-Identifier: Apache-2.0
//
// Any bytes as a tar archive, in chunks of a size that the first byte says.
#include "formats/tar.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, size_t size) {
  if (size == 0) return 0;
  std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  gantry::StringSource source(text, size_t{data[0]} + 1);
  gantry::formats::TarReader reader(source);
  gantry::formats::TarEntry entry;
  for (;;) {
    auto more = reader.NextEntry(&entry);
    if (!more.ok() || !*more) return 0;
    if (!reader.ReadData(size_t{1} << 20).ok()) return 0;
  }
}
