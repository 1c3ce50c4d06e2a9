// SPDX-License-Identifier: Apache-2.0
//
// Writes the engine's default seccomp profiles, as config.json has them, for
// src/runtime/seccomp_filter_test.cc, which may not include the engine. Runs at build time.
#include <cstdio>
#include <set>
#include <string>

#include "engine/seccomp_profile.h"
#include "oci/runtime_spec.h"

namespace {

void Print(const char* name, const std::set<std::string>& capabilities) {
  gantry::oci::Spec spec;
  spec.root.emplace().path = "rootfs";
  spec.platform.seccomp = gantry::engine::DefaultSeccomp(capabilities);
  std::printf("constexpr const char* %s = R\"json(%s)json\";\n", name,
              gantry::oci::ToJson(spec).Dump().c_str());
}

}  // namespace

int main() {
  Print("kDefaultProfile", {});
  Print("kDefaultProfileOfAdmin", {"CAP_SYS_ADMIN"});
  return std::fflush(stdout) == 0 ? 0 : 1;
}
