// SPDX-License-Identifier: Apache-2.0
//
// The command line of gantry-runtime: one function a command. Each reads its own options and calls
// one verb of runtime/operations.h.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "runtime/operations.h"

namespace gantry::cmd {

struct GlobalOptions {
  std::string root;  // of the state directories
  std::string log;
  std::string log_format = "text";
  bool debug = false;
  runtime::CgroupManager cgroup_manager = runtime::CgroupManager::kCgroupfs;
  std::optional<bool> rootless;  // none: as the caller is
  int failure_code = 1;          // that of the command
  char** argv = nullptr;         // of main, for executing ourselves again
  char** envp = nullptr;
};

using Words = std::vector<std::string>;

struct Command {
  std::string_view name;
  // The exit code.
  Result<int> (*run)(const GlobalOptions& global, Words words);
  std::string_view summary;
  // Of an error. For `exec` not 1, which its program may well end with.
  int failure_code = 1;
};

const Command* FindCommand(std::string_view name);
std::string Usage();

Result<int> CreateCommand(const GlobalOptions& global, Words words);
Result<int> RunCommand(const GlobalOptions& global, Words words);
Result<int> ExecCommand(const GlobalOptions& global, Words words);
Result<int> UpdateCommand(const GlobalOptions& global, Words words);
Result<int> ListCommand(const GlobalOptions& global, Words words);
Result<int> PsCommand(const GlobalOptions& global, Words words);
Result<int> EventsCommand(const GlobalOptions& global, Words words);
Result<int> CheckpointCommand(const GlobalOptions& global, Words words);
Result<int> RestoreCommand(const GlobalOptions& global, Words words);
Result<int> SpecCommand(const GlobalOptions& global, Words words);

}  // namespace gantry::cmd
