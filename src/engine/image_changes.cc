// SPDX-License-Identifier: Apache-2.0
#include "engine/image_changes.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "base/text.h"
#include "dockerfile/expand.h"
#include "dockerfile/instruction.h"
#include "engine/image_instructions.h"

namespace gantry::engine {
namespace {

constexpr auto kKnown =
    std::to_array<std::string_view>({"cmd", "entrypoint", "env", "expose", "healthcheck", "label",
                                     "onbuild", "stopsignal", "user", "volume", "workdir"});

}  // namespace

Result<> ApplyChanges(const std::vector<std::string>& lines, ContainerConfig* config) {
  std::vector<std::string> all;
  for (const std::string& line : lines) {
    for (std::string& one : Split(line, '\n')) all.push_back(std::move(one));
  }
  dockerfile::Expander expander;
  expander.lookup = [&](const std::string& name) { return VariableOf(*config, name); };
  ConfigEditor editor(config);
  for (const std::string& line : all) {
    std::string_view text = Trim(line);
    if (text.empty()) continue;
    std::string name = Lower(text.substr(0, text.find_first_of(" \t")));
    if (std::find(kKnown.begin(), kKnown.end(), name) == kKnown.end()) {
      return InvalidArgument("{} is not a valid change command", name);
    }
    TRY(editor.Apply(TRY(dockerfile::ParseInstruction(text)), expander));
  }
  return {};
}

}  // namespace gantry::engine
