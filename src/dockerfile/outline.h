// SPDX-License-Identifier: Apache-2.0
//
// What a Dockerfile offers and asks for: its stages with what comments say of them, and the
// arguments, secrets and agents that a stage takes. Pure; any thread.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dockerfile/instruction.h"

namespace gantry::dockerfile {

// A comment above the instruction that begins with `name`: the rest of it; "" without one.
std::string DescriptionOf(const Instruction& in, std::string_view name);

struct OutlineArgument {
  std::string name, value, description;
  int first_line = 0, last_line = 0;
};
// A secret or an agent.
struct OutlineInput {
  std::string name;
  bool required = false;
  int first_line = 0, last_line = 0;
};
struct Outline {
  std::string name, description;  // of the stage
  // In the order of the file; also those of the stages that it is made of.
  std::vector<OutlineArgument> arguments;
  std::vector<OutlineInput> secrets, agents;
};

// `given`: build arguments. `target` is one of the stages.
Outline MakeOutline(const Dockerfile& file, size_t target,
                    const std::map<std::string, std::optional<std::string>>& given);

}  // namespace gantry::dockerfile
