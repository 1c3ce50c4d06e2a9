// SPDX-License-Identifier: Apache-2.0
//
// Any bytes as manifest, index and image configuration; what is accepted reads the same after
// writing.
#include "oci/image_spec.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, size_t size) {
  using namespace gantry::oci;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  if (auto manifest = ParseManifest(text, ""); manifest.ok()) {
    std::string written = ToJson(*manifest).Dump();
    auto again = ParseManifest(written, manifest->media_type);
    if (!again.ok() || ToJson(*again).Dump() != written) __builtin_trap();
  }
  if (auto index = ParseIndex(text, ""); index.ok()) {
    std::string written = ToJson(*index).Dump();
    auto again = ParseIndex(written, index->media_type);
    if (!again.ok() || ToJson(*again).Dump() != written) __builtin_trap();
    (void)SelectPlatform(*index, HostPlatform()).ok();
  }
  if (auto config = ParseImageConfig(text); config.ok()) {
    std::string written = ToJson(*config).Dump();
    auto again = ParseImageConfig(written);
    if (!again.ok() || ToJson(*again).Dump() != written) __builtin_trap();
    ChainIds(config->diff_ids);
  }
  return 0;
}
