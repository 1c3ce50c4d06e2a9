// SPDX-License-Identifier: Apache-2.0
//
// What a command of the CLI is, and how one is found and called. commands.cc holds the one table.
// A command binds its flags, calls Parse and goes on with the arguments:
//
//   Result<int> Rename(Cli& cli, Invocation& call) {
//     if (auto code = call.Parse(ArgCount::Exactly(2))) return *code;
//     … call.args() …
//   }
//
// It returns the exit code; an error is printed by Dispatch, which then exits with 1. One thread.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "cmd/gantry/flags.h"

namespace gantry::cli {

class Cli;

struct ArgCount {
  size_t least = 0;
  size_t most = SIZE_MAX;
  static ArgCount None() { return {0, 0}; }
  static ArgCount Exactly(size_t n) { return {n, n}; }
  static ArgCount AtLeast(size_t n) { return {n, SIZE_MAX}; }
  static ArgCount AtMost(size_t n) { return {0, n}; }
  static ArgCount Between(size_t a, size_t b) { return {a, b}; }
};

class Invocation;

struct Command {
  // All the ways to call it, the first one is shown in lists: "ps|container ls|container list".
  std::string_view paths;
  std::string_view usage;  // behind the path: "[OPTIONS] IMAGE [COMMAND] [ARG...]"
  std::string_view summary;
  Result<int> (*run)(Cli& cli, Invocation& call);
};

class Invocation {
 public:
  Invocation(const Command& command, std::string path, std::vector<std::string> args)
      : command_(command), path_(std::move(path)), args_(std::move(args)) {}

  Flags flags;

  // Parses; prints help or a usage error and returns the exit code when the command must end here.
  [[nodiscard]] std::optional<int> Parse(ArgCount count,
                                         Flags::Order order = Flags::Order::kAnywhere);
  // The arguments that are no flags, after Parse.
  const std::vector<std::string>& args() const { return args_; }
  // "gantry container ls", as it was called.
  std::string Name() const { return "gantry " + path_; }
  // "gantry: MESSAGE\n\nRun 'gantry run --help' for more information" on standard error.
  void PrintFailure(std::string_view message) const;

 private:
  const Command& command_;
  std::string path_;
  std::vector<std::string> args_;
};

std::span<const Command> Commands();

// Finds the command in `args` (behind the global options) and runs it; returns the exit code.
int Dispatch(Cli& cli, std::vector<std::string> args);
// The text of `gantry --help`.
void PrintMainHelp(const Flags& global_flags);

}  // namespace gantry::cli
