// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantry/program.h"

#include <cstdlib>

namespace gantry::cli {
namespace {

std::string_view program_name = "gantry";

}  // namespace

void SetProgramName(std::string_view path) {
  program_name = path.substr(path.rfind('/') + 1) == "docker" ? "docker" : "gantry";
}

std::string_view ProgramName() { return program_name; }

std::string_view DaemonName() {
  return program_name == "docker" ? "Docker daemon" : "gantry daemon";
}

std::string Setting(std::string_view name) {
  for (std::string_view prefix : {"GANTRY_", "DOCKER_"}) {
    const char* value = std::getenv((std::string(prefix) + std::string(name)).c_str());
    if (value != nullptr && *value != 0) return value;
  }
  return "";
}

}  // namespace gantry::cli
