// SPDX-License-Identifier: Apache-2.0
//
// gantry-proxy's control messages, both directions; what was read is written and read again.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "formats/proxy_message.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace gantry::formats;  // NOLINT
  std::string_view text(reinterpret_cast<const char*>(data), size);
  auto request = DecodeProxyRequest(text);
  if (request.ok()) {
    std::string frame = EncodeProxyRequest(*request);
    auto again = DecodeProxyRequest(std::string_view(frame).substr(4));
    if (!again.ok() || again->listeners != request->listeners) std::abort();
  }
  (void)DecodeProxyReply(text);
  return 0;
}
