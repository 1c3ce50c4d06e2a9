// SPDX-License-Identifier: Apache-2.0
//
// The instructions of a Dockerfile that change an image's configuration and none of its files: for
// builds, and for --change of commit and import. Pure; any thread.
#pragma once

#include <string>

#include "base/error.h"
#include "dockerfile/expand.h"
#include "dockerfile/instruction.h"
#include "engine/config.h"

namespace gantry::engine {

class ConfigEditor {
 public:
  explicit ConfigEditor(ContainerConfig* config) : config_(config) {}

  // CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, SHELL, STOPSIGNAL, USER, VOLUME,
  // WORKDIR; any other is kUnimplemented. Returns the instruction as an image's history has it,
  // with its variables put in: "ENV A=1".
  Result<std::string> Apply(const dockerfile::Instruction& in,
                            const dockerfile::Expander& expander);

 private:
  ContainerConfig* config_;
  bool has_cmd_ = false;  // one that stands in the same file as the entry point
};

// The words that a command is executed as: the shell's for the form without JSON.
std::vector<std::string> CommandWords(const dockerfile::Instruction& in,
                                      const ContainerConfig& config);
// "NAME=value" in place of an older value.
void SetVariable(const std::string& name, const std::string& value, ContainerConfig* config);
// The value of an environment's variable; nothing when it is not there.
std::optional<std::string> VariableOf(const ContainerConfig& config, const std::string& name);
// `path` from the working directory on, as docker cleans it.
std::string FromWorkingDirectory(const ContainerConfig& config, const std::string& path);

// The "config" of an image. An image has no empty command: "ENTRYPOINT []" is none.
formats::Json ImageConfig(ContainerConfig config);

}  // namespace gantry::engine
