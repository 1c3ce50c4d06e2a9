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
#include "cmd/gantry/cli.h"
#include "cmd/gantry/flags.h"
#include "cmd/gantry/program.h"

namespace gantry::cli {

struct ArgCount {
  size_t least = 0;
  size_t most = SIZE_MAX;
  static ArgCount None() { return {0, 0}; }
  static ArgCount Exactly(size_t n) { return {n, n}; }
  static ArgCount AtLeast(size_t n) { return {n, SIZE_MAX}; }
  static ArgCount AtMost(size_t n) { return {0, n}; }
  static ArgCount Between(size_t a, size_t b) { return {a, b}; }
  // As a usage line says: "[OPTIONS] SECRET [file|-]" are one or two, "NODE [NODE...]" any from one
  // on.
  static ArgCount OfUsage(std::string_view usage);
};

class Invocation;

struct Command {
  // All the ways to call it, the first one is shown in lists: "ps|container ls|container list".
  std::string_view paths;
  // Behind the path: "[OPTIONS] IMAGE [COMMAND] [ARG...]"; a line for each way, where there are
  // more.
  std::string_view usage;
  std::string_view summary;  // empty: not shown in lists
  Result<int> (*run)(Cli& cli, Invocation& call);
};

// A word with commands of its own: "container".
struct Group {
  enum class Kind { kManagement, kSwarm };
  std::string_view name;
  std::string_view summary;
  Kind kind = Kind::kManagement;
};

class Invocation {
 public:
  Invocation(const Command& command, std::string path, std::vector<std::string> args)
      : command_(command), path_(std::move(path)), args_(std::move(args)) {}

  Flags flags;

  // Parse then only takes note of what the command has bound, for help, completion and man pages:
  // whoever asked reads `flags` after the command has returned, but must not parse with them.
  void OnlyDescribe() { only_describe_ = true; }
  Flags::Order order() const { return order_; }

  // Parses; prints help or a usage error and returns the exit code when the command must end here.
  [[nodiscard]] std::optional<int> Parse(ArgCount count,
                                         Flags::Order order = Flags::Order::kAnywhere);
  // The arguments that are no flags, after Parse.
  const std::vector<std::string>& args() const { return args_; }
  std::string_view usage() const { return command_.usage; }
  void PrintHelp() const;
  // The flags that were given, after Parse.
  std::vector<Flags::Info> GivenFlags() const;
  // The first word behind the command that is no flag, before Parse; "" when there is none.
  std::string FirstWord() const;
  // "gantry container ls", as it was called.
  std::string Name() const { return fmt::format("{} {}", ProgramName(), path_); }
  // "gantry: MESSAGE\n\nRun 'gantry run --help' for more information" on standard error.
  void PrintFailure(std::string_view message) const;

 private:
  const Command& command_;
  std::string path_;
  std::vector<std::string> args_;
  bool only_describe_ = false;
  Flags::Order order_ = Flags::Order::kAnywhere;
};

std::span<const Command> Commands();
std::span<const Group> Groups();
const Group* FindGroup(std::string_view name);
// "ps", "container ls": nullptr when there is none.
const Command* FindCommand(std::string_view path);
// The ways to call it: {"ps", "container ls", …}.
std::vector<std::string> PathsOf(const Command& command);
// Name and summary of the commands that are called by one word ("" for `group`) or are in the group
// of that name; sorted, without aliases and what is not shown.
std::vector<std::pair<std::string, std::string>> CommandsOf(std::string_view group);
// The flags that `command` binds.
Flags DescribeFlags(Cli& cli, const Command& command, Flags::Order* order = nullptr);
// Binds the options that stand in front of the command.
void BindGlobalFlags(Flags* flags, Cli::Options* options, bool* version);

// Finds the command in `args` (behind the global options) and runs it; returns the exit code.
int Dispatch(Cli& cli, std::vector<std::string> args);

// Each way of using it, behind its path.
std::vector<std::string_view> UsagesOf(const Command& command);
// The texts of --help, in help.cc.
std::string UsageLine(const Command& command, std::string_view path);
std::string CommandHelp(const Command& command, std::string_view path, const Flags& flags);
std::string GroupHelp(const Group& group);
// `plugins`: further commands with their summaries.
std::string MainHelp(const Flags& global_flags,
                     const std::vector<std::pair<std::string, std::string>>& plugins);

}  // namespace gantry::cli
