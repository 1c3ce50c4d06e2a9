// SPDX-License-Identifier: Apache-2.0
//
// What a kernel (or a port of one) may send: datagrams, messages, acknowledgements, nft elements.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "kernel/netlink.h"
#include "kernel/nftables.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace gantry::kernel;  // NOLINT
  for (const NetlinkMessage& message : ParseMessages({reinterpret_cast<const char*>(data), size})) {
    (void)ParseAck(message);
    (void)ParseNftElements(message);
  }
  return 0;
}
