// SPDX-License-Identifier: Apache-2.0
// fuzz: containerd/filters.cc
// link: re2
#include <cstddef>
#include <cstdint>

#include "containerd/filters.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  auto filters =
      gantry::containerd::Filters::Parse({std::string(reinterpret_cast<const char*>(data), size)});
  if (filters.ok()) {
    (void)filters->Matches([](const gantry::containerd::FieldPath& path) {
      return std::optional<std::string>(path.front());
    });
  }
  return 0;
}
