// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantry/command.h"

#include <algorithm>

#include "cmd/gantry/output.h"

namespace gantry::cli {
namespace {

struct Group {
  std::string_view name;
  std::string_view summary;
};
constexpr Group kGroups[] = {
    {"container", "Manage containers"}, {"image", "Manage images"},
    {"network", "Manage networks"},     {"system", "Manage the engine"},
    {"volume", "Manage volumes"},
};

// The next of the ways in "a|b|c"; moves *rest past it.
std::string_view NextPath(std::string_view* rest) {
  size_t end = rest->find('|');
  std::string_view path = rest->substr(0, end);
  *rest = end == std::string_view::npos ? std::string_view() : rest->substr(end + 1);
  return path;
}

bool HasPath(const Command& command, std::string_view wanted) {
  std::string_view rest = command.paths;
  while (!rest.empty()) {
    if (NextPath(&rest) == wanted) return true;
  }
  return false;
}

const Command* FindCommand(std::string_view path) {
  for (const Command& command : Commands()) {
    if (HasPath(command, path)) return &command;
  }
  return nullptr;
}

std::string UsageLine(const Command& command, std::string_view path) {
  return fmt::format("Usage:  gantry {}{}{}", path, command.usage.empty() ? "" : " ",
                     command.usage);
}

std::string Plural(size_t n) { return fmt::format("{} argument{}", n, n == 1 ? "" : "s"); }

std::string CountMessage(const ArgCount& count) {
  if (count.most == 0) return "accepts no arguments";
  if (count.least == count.most) return "requires " + Plural(count.least);
  if (count.most == SIZE_MAX) return "requires at least " + Plural(count.least);
  if (count.least == 0) return "requires at most " + Plural(count.most);
  return fmt::format("requires at least {} and at most {}", count.least, Plural(count.most));
}

void AppendList(std::vector<std::pair<std::string, std::string>> lines, std::string* out) {
  std::sort(lines.begin(), lines.end());
  size_t width = 0;
  for (const auto& [name, summary] : lines) width = std::max(width, name.size());
  for (const auto& [name, summary] : lines) {
    out->append("  ").append(name).append(width - name.size() + 3, ' ');
    out->append(summary).append("\n");
  }
}

const Group* FindGroup(std::string_view name) {
  for (const Group& group : kGroups) {
    if (group.name == name) return &group;
  }
  return nullptr;
}

std::string GroupHelp(const Group& group) {
  std::string out =
      fmt::format("Usage:  gantry {} COMMAND\n\n{}\n\nCommands:\n", group.name, group.summary);
  std::vector<std::pair<std::string, std::string>> lines;
  for (const Command& command : Commands()) {
    std::string_view rest = command.paths;
    while (!rest.empty()) {
      std::string_view path = NextPath(&rest);
      if (path.size() > group.name.size() && path.substr(0, group.name.size()) == group.name &&
          path[group.name.size()] == ' ') {
        // The first name within the group; further ones are aliases.
        lines.emplace_back(path.substr(group.name.size() + 1), command.summary);
        break;
      }
    }
  }
  AppendList(std::move(lines), &out);
  out += fmt::format("\nRun 'gantry {} COMMAND --help' for more information on a command.\n",
                     group.name);
  return out;
}

int RunGroup(const Group& group, const std::vector<std::string>& args) {
  if (args.size() < 2 || args[1] == "--help" || args[1] == "-h" || args[1] == "help") {
    PrintText(GroupHelp(group));
    return 0;
  }
  if (args[1][0] == '-') {
    PrintError(
        "unknown flag: {}\n\nUsage:  gantry {} COMMAND\n\n"
        "Run 'gantry {} --help' for more information\n",
        args[1], group.name, group.name);
    return 125;
  }
  PrintError(
      "gantry: unknown command: gantry {} {}\n\nUsage:  gantry {}\n\n"
      "Run 'gantry {} --help' for more information\n",
      group.name, args[1], group.name, group.name);
  return 1;
}

}  // namespace

std::optional<int> Invocation::Parse(ArgCount count, Flags::Order order) {
  Result<std::vector<std::string>> rest = flags.Parse(args_, order);
  if (!rest.ok()) {
    PrintError("{}\n\n{}\n\nRun '{} --help' for more information\n", rest.error().message(),
               UsageLine(command_, path_), Name());
    return 125;
  }
  if (flags.help_requested()) {
    Print("{}\n\n{}\n", UsageLine(command_, path_), command_.summary);
    if (command_.paths.find('|') != std::string_view::npos) {
      std::string aliases;
      std::string_view paths = command_.paths;
      while (!paths.empty()) {
        aliases.append(aliases.empty() ? "" : ", ").append("gantry ").append(NextPath(&paths));
      }
      Print("\nAliases:\n  {}\n", aliases);
    }
    PrintText(flags.HelpText());
    return 0;
  }
  args_ = std::move(*rest);
  if (args_.size() >= count.least && args_.size() <= count.most) return std::nullopt;
  PrintError("gantry: '{}' {}\n\n{}\n\n{} '{} --help' for more information\n", Name(),
             CountMessage(count), UsageLine(command_, path_), count.most == 0 ? "Run" : "See",
             Name());
  return 1;
}

void Invocation::PrintFailure(std::string_view message) const {
  PrintError("gantry: {}\n\nRun '{} --help' for more information\n", message, Name());
}

int Dispatch(Cli& cli, std::vector<std::string> args) {
  size_t words = 1;
  const Command* command = FindCommand(args[0]);
  if (command == nullptr && args.size() > 1) {
    command = FindCommand(fmt::format("{} {}", args[0], args[1]));
    words = 2;
  }
  if (command == nullptr) {
    if (const Group* group = FindGroup(args[0])) return RunGroup(*group, args);
    PrintError("gantry: unknown command: gantry {}\n\nRun 'gantry --help' for more information\n",
               args[0]);
    return 1;
  }
  std::string path = words == 1 ? args[0] : fmt::format("{} {}", args[0], args[1]);
  args.erase(args.begin(), args.begin() + static_cast<ptrdiff_t>(words));
  Invocation call(*command, std::move(path), std::move(args));
  Result<int> code = command->run(cli, call);
  if (code.ok()) return *code;
  PrintError("{}\n", code.error().message());
  return 1;
}

void PrintMainHelp(const Flags& global_flags) {
  std::string out = "Usage:  gantry [OPTIONS] COMMAND\n\nRuns containers\n\nManagement Commands:\n";
  std::vector<std::pair<std::string, std::string>> lines;
  for (const Group& group : kGroups) {
    bool used = std::any_of(Commands().begin(), Commands().end(), [&](const Command& command) {
      return command.paths.find(std::string(group.name) + " ") != std::string_view::npos;
    });
    if (used) lines.emplace_back(group.name, group.summary);
  }
  AppendList(std::move(lines), &out);
  out += "\nCommands:\n";
  lines.clear();
  for (const Command& command : Commands()) {
    std::string_view rest = command.paths;
    std::string_view first = NextPath(&rest);
    if (first.find(' ') == std::string_view::npos) lines.emplace_back(first, command.summary);
  }
  AppendList(std::move(lines), &out);
  out += global_flags.HelpText();
  out += "\nRun 'gantry COMMAND --help' for more information on a command.\n";
  PrintText(out);
}

}  // namespace gantry::cli
