// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantry/command.h"

#include <algorithm>

#include "base/text.h"
#include "cmd/gantry/output.h"
#include "cmd/gantry/plugins.h"
#include "cmd/gantry/suggest.h"

namespace gantry::cli {
namespace {

constexpr Group kGroups[] = {
    {"builder", "Manage what builds have left"},
    {"checkpoint", "Manage checkpoints of containers"},
    {"config", "Manage configs of a swarm", Group::Kind::kSwarm},
    {"container", "Manage containers"},
    {"context", "Manage contexts: which engine to speak to"},
    {"image", "Manage images"},
    {"manifest", "Manage lists of images for several platforms"},
    {"network", "Manage networks"},
    {"node", "Manage nodes of a swarm", Group::Kind::kSwarm},
    {"plugin", "Manage plugins of the engine"},
    {"registry", "Serve images to other hosts"},
    {"secret", "Manage secrets of a swarm", Group::Kind::kSwarm},
    {"service", "Manage services of a swarm", Group::Kind::kSwarm},
    {"stack", "Manage stacks of a swarm", Group::Kind::kSwarm},
    {"swarm", "Manage a swarm", Group::Kind::kSwarm},
    {"system", "Manage the engine"},
    {"volume", "Manage volumes"},
};

std::string Plural(size_t n) { return fmt::format("{} argument{}", n, n == 1 ? "" : "s"); }

std::string CountMessage(const ArgCount& count) {
  if (count.most == 0) return "accepts no arguments";
  if (count.least == count.most) return "requires " + Plural(count.least);
  if (count.most == SIZE_MAX) return "requires at least " + Plural(count.least);
  if (count.least == 0) return "requires at most " + Plural(count.most);
  return fmt::format("requires at least {} and at most {}", count.least, Plural(count.most));
}

// "\n\nDid you mean 'run'?", or "".
std::string Hint(std::string_view typed, std::string_view group) {
  std::vector<std::string> words;
  for (auto& [name, summary] : CommandsOf(group)) words.push_back(name);
  if (group.empty()) {
    for (const Group& each : kGroups) words.emplace_back(each.name);
  }
  std::string meant = Suggest(typed, words);
  return meant.empty() ? "" : fmt::format("\n\nDid you mean '{}'?", meant);
}

int RunGroup(const Group& group, const std::vector<std::string>& args) {
  if (args.size() < 2 || args[1] == "--help" || args[1] == "-h" || args[1] == "help") {
    PrintText(GroupHelp(group));
    return 0;
  }
  std::string_view self = ProgramName();
  if (args[1].substr(0, 1) == "-") {
    PrintError(
        "unknown flag: {}\n\nUsage:  {} {} COMMAND\n\n"
        "Run '{} {} --help' for more information\n",
        args[1], self, group.name, self, group.name);
    return 125;
  }
  PrintError(
      "{}: unknown command: {} {} {}{}\n\nUsage:  {} {}{}\n\n"
      "Run '{} {} --help' for more information\n",
      self, self, group.name, args[1], Hint(args[1], group.name), self, group.name,
      group.name == "volume" ? " COMMAND" : "", self, group.name);
  return 1;
}

}  // namespace

ArgCount ArgCount::OfUsage(std::string_view usage) {
  ArgCount count{0, 0};
  for (const std::string& word : SplitWords(usage, " ")) {
    if (word == "[OPTIONS]") continue;
    if (word[0] != '[') ++count.least;
    bool any = word.ends_with("...]");
    count.most = any ? SIZE_MAX : count.most + 1;
  }
  return count;
}

std::span<const Group> Groups() { return kGroups; }

const Group* FindGroup(std::string_view name) {
  for (const Group& group : kGroups) {
    if (group.name == name) return &group;
  }
  return nullptr;
}

std::vector<std::string> PathsOf(const Command& command) { return Split(command.paths, '|'); }

const Command* FindCommand(std::string_view path) {
  for (const Command& command : Commands()) {
    std::vector<std::string> paths = PathsOf(command);
    if (std::find(paths.begin(), paths.end(), path) != paths.end()) return &command;
  }
  return nullptr;
}

std::vector<std::pair<std::string, std::string>> CommandsOf(std::string_view group) {
  std::vector<std::pair<std::string, std::string>> found;
  for (const Command& command : Commands()) {
    if (command.summary.empty()) continue;
    std::vector<std::string> paths = PathsOf(command);
    if (group.empty()) {
      if (paths[0].find(' ') == std::string::npos) found.emplace_back(paths[0], command.summary);
      continue;
    }
    for (const std::string& path : paths) {
      size_t blank = path.find(' ');
      if (blank == std::string::npos || std::string_view(path).substr(0, blank) != group) continue;
      // The first name within the group; further ones are aliases.
      found.emplace_back(path.substr(blank + 1), command.summary);
      break;
    }
  }
  std::sort(found.begin(), found.end());
  return found;
}

Flags DescribeFlags(Cli& cli, const Command& command, Flags::Order* order) {
  Invocation call(command, PathsOf(command)[0], {});
  call.OnlyDescribe();
  // Nothing is done before Parse, which ends the command here.
  (void)command.run(cli, call);
  if (order != nullptr) *order = call.order();
  return std::move(call.flags);
}

std::optional<int> Invocation::Parse(ArgCount count, Flags::Order order) {
  order_ = order;
  if (only_describe_) return 0;
  Result<std::vector<std::string>> rest = flags.Parse(args_, order);
  if (!rest.ok()) {
    PrintError("{}\n\n{}\n\nRun '{} --help' for more information\n", rest.error().message(),
               UsageLine(command_, path_), Name());
    return 125;
  }
  if (flags.help_requested()) {
    PrintHelp();
    return 0;
  }
  args_ = std::move(*rest);
  if (args_.size() >= count.least && args_.size() <= count.most) return std::nullopt;
  PrintError("{}: '{}' {}\n\n{}\n\n{} '{} --help' for more information\n", ProgramName(), Name(),
             CountMessage(count), UsageLine(command_, path_),
             count.most == SIZE_MAX ? "See" : "Run", Name());
  return 1;
}

void Invocation::PrintHelp() const { PrintText(CommandHelp(command_, path_, flags)); }

std::vector<Flags::Info> Invocation::GivenFlags() const {
  std::vector<Flags::Info> given;
  for (const Flags::Info& flag : flags.Shown()) {
    if (flags.Changed(flag.name)) given.push_back(flag);
  }
  return given;
}

std::string Invocation::FirstWord() const {
  for (const std::string& word : args_) {
    if (word.substr(0, 1) != "-") return word;
  }
  return "";
}

void Invocation::PrintFailure(std::string_view message) const {
  PrintError("{}: {}\n\nRun '{} --help' for more information\n", ProgramName(), message, Name());
}

namespace {

// config.json's `aliases`. As with docker only "builder" may be one, for a plugin that builds.
Result<std::string> BuilderAlias(Cli& cli) {
  std::string builder;
  for (const auto& [name, target] : (*TRY(cli.Config()))["aliases"].members()) {
    if (name != "builder") {
      return InvalidArgument(
          "not allowed to alias \"{}\" (allowed: map[string]struct {{}}{{\"builder\":struct "
          "{{}}{{}}}})",
          name);
    }
    builder = target.AsString();
    std::string first = builder.substr(0, builder.find(' '));
    if (FindCommand(builder) != nullptr || FindCommand(first) != nullptr ||
        FindGroup(first) != nullptr) {
      return InvalidArgument("not allowed to alias with builtin \"{}\" as target", builder);
    }
  }
  return builder;
}

// `build` and its other names are buildx's where the user has that plugin, as with docker.
std::optional<Plugin> BuilderFor(Cli& cli, const std::string& alias,
                                 const std::vector<std::string>& args, size_t* words) {
  bool build = args[0] == "build";
  bool longer =
      args.size() > 1 && args[1] == "build" && (args[0] == "builder" || args[0] == "image");
  if (!build && !longer) return std::nullopt;
  std::string wanted = Setting("BUILDKIT");
  Result<bool> enabled = wanted.empty() ? Result<bool>(true) : ParseBoolean(wanted);
  if (!enabled.ok() || !*enabled) return std::nullopt;
  *words = build ? 1 : 2;
  std::optional<Plugin> buildx = FindPlugin(cli, alias.empty() ? "buildx" : alias);
  if (!buildx || !wanted.empty() || !alias.empty()) return buildx;
  // Nobody has asked for BuildKit, and an engine may say that it has none.
  ApiRequest ping;
  ping.path = "/_ping";
  Result<Api*> api = cli.Connect();
  if (!api.ok()) return buildx;
  Result<ApiAnswer> answer = (*api)->Call(ping);
  bool has_none = answer.ok() && answer->headers.Get("Builder-Version") == "1";
  return has_none ? std::nullopt : buildx;
}

int Finish(const Result<int>& code) {
  if (code.ok()) return *code;
  PrintError("{}\n", code.error().message());
  return 1;
}

// A word that is no command of ours: a plugin's, or a slip of the user.
int RunUnknown(Cli& cli, const std::vector<std::string>& args) {
  if (std::optional<Plugin> plugin = FindPlugin(cli, args[0])) {
    Result<int> code = RunPlugin(cli, *plugin, cli.options().words);
    if (code.ok()) ShowHints(cli, args[0], {}, *code == 0 ? "" : fmt::format("exit {}", *code));
    return Finish(code);
  }
  PrintError("{}: unknown command: {} {}{}\n\nRun '{} --help' for more information\n",
             ProgramName(), ProgramName(), args[0], Hint(args[0], ""), ProgramName());
  return 1;
}

}  // namespace

int Dispatch(Cli& cli, std::vector<std::string> args) {
  // A broken config.json is told by the commands that need it.
  Result<const Json*> config = cli.Config();
  Result<std::string> alias = config.ok() ? BuilderAlias(cli) : std::string();
  if (!alias.ok()) return Finish(std::move(alias).error());
  // The global options stay in front: what is replaced stands behind them.
  std::vector<std::string> all = cli.options().words;
  auto behind = all.begin() + static_cast<ptrdiff_t>(all.size() - args.size());
  size_t words = 1;
  if (std::optional<Plugin> builder = BuilderFor(cli, *alias, args, &words)) {
    behind = all.erase(behind, behind + static_cast<ptrdiff_t>(words));
    all.insert(behind, {builder->name, "build"});
    return Finish(RunPlugin(cli, *builder, all));
  }
  if (args[0] == "builder" && !alias->empty()) {
    if (std::optional<Plugin> builder = FindPlugin(cli, *alias)) {
      *behind = *alias;
      return Finish(RunPlugin(cli, *builder, all));
    }
  }
  words = 1;
  const Command* command = FindCommand(args[0]);
  if (command == nullptr && args.size() > 1) {
    command = FindCommand(fmt::format("{} {}", args[0], args[1]));
    words = 2;
  }
  if (command == nullptr && args.size() > 2) {
    command = FindCommand(fmt::format("{} {} {}", args[0], args[1], args[2]));
    words = 3;
  }
  if (command == nullptr) {
    if (const Group* group = FindGroup(args[0])) return RunGroup(*group, args);
    return RunUnknown(cli, args);
  }
  std::string path = args[0];
  for (size_t i = 1; i < words; ++i) path += " " + args[i];
  args.erase(args.begin(), args.begin() + static_cast<ptrdiff_t>(words));
  Invocation call(*command, path, std::move(args));
  Result<int> code = command->run(cli, call);
  if (HintsEnabled(cli)) {
    ShowHints(cli, path, call.GivenFlags(), code.ok() ? "" : code.error().message());
  }
  return Finish(code);
}

}  // namespace gantry::cli
