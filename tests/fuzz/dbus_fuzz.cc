// SPDX-License-Identifier: Apache-2.0
//
// What a bus may send, and what an annotation may say: both are read, and what was accepted is
// written and read back as the same.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "formats/dbus_message.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace gantry::formats;  // NOLINT
  std::string_view bytes(reinterpret_cast<const char*>(data), size);
  auto message = DecodeDbus(bytes);
  if (message.ok()) {
    // Compared as bytes: a number that is not one differs from itself.
    std::string written = EncodeDbus(*message);
    auto again = DecodeDbus(written);
    CHECK(again.ok() && EncodeDbus(*again) == written);
  }
  auto value = ParseDbusText(bytes);
  if (value.ok()) {
    CHECK(IsDbusType(value->signature));
    DbusMessage carrier;
    carrier.serial = 1;
    carrier.body = {*value};
    CHECK(DecodeDbus(EncodeDbus(carrier)).ok());
  }
  return 0;
}
