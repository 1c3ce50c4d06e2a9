// SPDX-License-Identifier: Apache-2.0
//
// Decodes any bytes as an Any that holds an Any; what decodes must encode and decode to the same.
#include <cstdint>
#include <cstdlib>

#include "formats/protobuf_wire.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using gantry::formats::ProtoAny;
  std::string_view bytes(reinterpret_cast<const char*>(data), size);
  auto any = gantry::formats::ProtoDecode<ProtoAny>(bytes);
  if (!any.ok()) return 0;
  auto again = gantry::formats::ProtoDecode<ProtoAny>(gantry::formats::ProtoEncode(*any));
  if (!again.ok() || !(*again == *any)) std::abort();
  (void)gantry::formats::ProtoDecode<gantry::formats::ProtoTimestamp>(any->value);
  (void)gantry::formats::ProtoDecode<gantry::formats::ProtoFieldMask>(any->value);
  return 0;
}
