// SPDX-License-Identifier: Apache-2.0
//
// Any bytes behind HTTP/2's greeting as what a front end's program writes: in whatever pieces they
// come, what is said of them is the same.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>

#include "buildkit/message_guard.h"

namespace {

std::optional<gantry::ErrorKind> Judge(std::string_view bytes, size_t piece) {
  gantry::buildkit::MessageGuard guard({.message = 1000, .all = 2000});
  for (; !bytes.empty(); bytes.remove_prefix(std::min(piece, bytes.size()))) {
    auto taken = guard.Take(bytes.substr(0, piece));
    if (!taken.ok()) return taken.error().kind();
  }
  return std::nullopt;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  std::string bytes = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
  bytes.append(reinterpret_cast<const char*>(data + 1), size - 1);
  if (Judge(bytes, bytes.size()) != Judge(bytes, size_t{data[0] % 32u} + 1)) std::abort();
  return 0;
}
