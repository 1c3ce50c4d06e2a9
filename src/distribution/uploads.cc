// SPDX-License-Identifier: Apache-2.0
#include "distribution/uploads.h"

#include <fmt/format.h>

#include "base/random.h"

namespace gantry::distribution {

std::string MakeUploadId() {
  std::string hex = RandomHex(16);
  hex[12] = '4';
  hex[16] = "89ab"[RandomU64() % 4];
  return fmt::format("{}-{}-{}-{}-{}", hex.substr(0, 8), hex.substr(8, 4), hex.substr(12, 4),
                     hex.substr(16, 4), hex.substr(20));
}

}  // namespace gantry::distribution
