// SPDX-License-Identifier: Apache-2.0
//
// The texts of --help, made from the table of commands and the flags that each command binds.
#include <algorithm>

#include "cmd/gantry/command.h"

namespace gantry::cli {
namespace {

using Lines = std::vector<std::pair<std::string, std::string>>;

// What people use most, in the order of a first day.
constexpr std::string_view kCommon[] = {"run",    "exec",  "ps",     "build",  "pull",    "push",
                                        "images", "login", "logout", "search", "version", "info"};

bool IsCommon(std::string_view name) {
  return std::find(std::begin(kCommon), std::end(kCommon), name) != std::end(kCommon);
}

void AppendList(std::string_view title, const Lines& lines, std::string* out) {
  if (lines.empty()) return;
  out->append("\n").append(title).append(":\n");
  size_t width = 0;
  for (const auto& [name, summary] : lines) width = std::max(width, name.size());
  for (const auto& [name, summary] : lines) {
    out->append("  ").append(name).append(width - name.size() + 3, ' ');
    out->append(summary).append("\n");
  }
}

}  // namespace

std::vector<std::string_view> UsagesOf(const Command& command) {
  std::vector<std::string_view> out;
  std::string_view rest = command.usage;
  do {
    out.push_back(rest.substr(0, rest.find('\n')));
    rest.remove_prefix(std::min(rest.size(), out.back().size() + 1));
  } while (!rest.empty());
  return out;
}

std::string UsageLine(const Command& command, std::string_view path) {
  std::string out;
  for (std::string_view usage : UsagesOf(command)) {
    out += fmt::format("{}{} {}{}{}", out.empty() ? "Usage:  " : "\n\t", ProgramName(), path,
                       usage.empty() ? "" : " ", usage);
  }
  return out;
}

std::string CommandHelp(const Command& command, std::string_view path, const Flags& flags) {
  std::string out = fmt::format("{}\n\n{}\n", UsageLine(command, path), command.summary);
  std::vector<std::string> paths = PathsOf(command);
  if (paths.size() > 1) {
    out.append("\nAliases:\n  ");
    for (size_t i = 0; i < paths.size(); ++i) {
      out += fmt::format("{}{} {}", i == 0 ? "" : ", ", ProgramName(), paths[i]);
    }
    out.append("\n");
  }
  return out + flags.HelpText();
}

std::string GroupHelp(const Group& group) {
  std::string out =
      fmt::format("Usage:  {} {} COMMAND\n\n{}\n", ProgramName(), group.name, group.summary);
  AppendList("Commands", CommandsOf(group.name), &out);
  out += fmt::format("\nRun '{} {} COMMAND --help' for more information on a command.\n",
                     ProgramName(), group.name);
  return out;
}

std::string MainHelp(const Flags& global_flags, const Lines& plugins) {
  std::string out = fmt::format("Usage:  {} [OPTIONS] COMMAND\n\nRuns containers\n", ProgramName());
  Lines common, others, management, swarm;
  Lines all = CommandsOf("");
  for (std::string_view name : kCommon) {
    auto at =
        std::find_if(all.begin(), all.end(), [&](const auto& line) { return line.first == name; });
    if (at != all.end()) common.push_back(*at);
  }
  for (const auto& line : all) {
    if (!IsCommon(line.first)) others.push_back(line);
  }
  for (const Group& group : Groups()) {
    if (CommandsOf(group.name).empty()) continue;
    bool of_swarm = group.kind == Group::Kind::kSwarm;
    (of_swarm ? swarm : management).emplace_back(group.name, group.summary);
  }
  management.insert(management.end(), plugins.begin(), plugins.end());
  std::sort(management.begin(), management.end());
  AppendList("Common Commands", common, &out);
  AppendList("Management Commands", management, &out);
  AppendList("Swarm Commands", swarm, &out);
  AppendList("Commands", others, &out);
  out += global_flags.HelpText("Global Options");
  out +=
      fmt::format("\nRun '{} COMMAND --help' for more information on a command.\n", ProgramName());
  return out;
}

}  // namespace gantry::cli
