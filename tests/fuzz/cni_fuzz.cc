// SPDX-License-Identifier: Apache-2.0
//
// Any bytes as a CNI configuration and as what a plugin answers.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "networks/cni_config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace gantry::networks;  // NOLINT
  std::string_view text(reinterpret_cast<const char*>(data), size);
  if (auto config = ParseCniConfig(text); config.ok()) {
    for (const CniPlugin& plugin : config->plugins) {
      (void)CniInput(*config, plugin, CniRuntime({"a"}, {}, {}, {}), {});
    }
  }
  if (auto result = gantry::formats::Json::Parse(text); result.ok()) {
    Endpoint endpoint;
    endpoint.interface = "eth0";
    (void)ReadCniResult(*result, &endpoint);
  }
  (void)CniFailure("bridge", "ADD", text, text);
  return 0;
}
