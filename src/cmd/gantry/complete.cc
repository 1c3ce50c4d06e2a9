// SPDX-License-Identifier: Apache-2.0
//
// What may be typed next. The shells' scripts (completion_scripts.cc) call
//
//   gantry __complete WORD… LAST
//
// with what stands in front of the cursor, and get lines of "WORD\tDESCRIPTION" and at the end
// ":N", N being a sum of: 1 an error, 2 no blank behind the word, 4 no file names. It is the
// protocol of docker's own scripts and of its plugins.
//
// What an argument may be is read from the command's usage, "[OPTIONS] CONTAINER COMMAND [ARG...]":
// containers, then anything.
#include <algorithm>

#include "base/text.h"
#include "cmd/gantry/command_list.h"
#include "cmd/gantry/output.h"
#include "cmd/gantry/plugins.h"

extern char** environ;

namespace gantry::cli {
namespace {

struct Words {
  std::vector<std::pair<std::string, std::string>> words;
  bool files = false;  // the shell shall complete file names
  void Add(std::string word, std::string description = "") {
    words.emplace_back(std::move(word), std::move(description));
  }
};

bool StartsWith(std::string_view text, std::string_view prefix) {
  return text.substr(0, prefix.size()) == prefix;
}

// A daemon that does not answer gives no words; the error would only disturb the user's line.
Json Ask(Cli& cli, const std::string& path, const wire::Query& query = {}) {
  Result<Api*> api = cli.Connect();
  if (!api.ok()) return Json();
  Result<Json> answer = (*api)->Get(path, query);
  return answer.ok() ? std::move(*answer) : Json();
}

void AddContainers(Cli& cli, const std::vector<std::string>& states, Words* out) {
  wire::Query query;
  query.Add("all", "1");
  if (!states.empty()) {
    std::vector<std::string> filters;
    for (const std::string& state : states) filters.push_back("status=" + state);
    query.Add("filters", FormatFilters(filters));
  }
  Json containers = Ask(cli, "/containers/json", query);
  for (const Json& container : containers.items()) {
    std::string name = container["Names"].at(0).AsString();
    if (StartsWith(name, "/")) name.erase(0, 1);
    out->Add(name, container["Image"].AsString());
  }
}

void AddImages(Cli& cli, Words* out) {
  Json images = Ask(cli, "/images/json");
  for (const Json& image : images.items()) {
    for (const Json& tag : image["RepoTags"].items()) {
      const std::string& name = tag.AsString();
      if (name != "<none>:<none>") out->Add(name);
    }
  }
}

void AddNetworks(Cli& cli, Words* out) {
  Json networks = Ask(cli, "/networks");
  for (const Json& network : networks.items()) {
    out->Add(network["Name"].AsString(), network["Driver"].AsString());
  }
}

void AddVolumes(Cli& cli, Words* out) {
  Json answer = Ask(cli, "/volumes");
  for (const Json& volume : answer["Volumes"].items()) {
    out->Add(volume["Name"].AsString(), volume["Driver"].AsString());
  }
}

void AddSignals(Words* out) {
  for (const char* name : {"ABRT", "ALRM", "CONT", "HUP", "INT", "KILL", "PIPE", "QUIT", "STOP",
                           "TERM", "TSTP", "USR1", "USR2", "WINCH"}) {
    out->Add(std::string("SIG") + name);
  }
}

void AddVariables(Words* out) {
  for (char** variable = environ; *variable != nullptr; ++variable) {
    std::string_view pair = *variable;
    out->Add(std::string(pair.substr(0, pair.find('='))));
  }
}

struct FixedValues {
  std::string_view flag;
  std::vector<std::string_view> values;
};

// Values of a flag, by its name: the same name means the same in all commands.
void AddFlagValues(Cli& cli, const std::string& flag, Words* out) {
  static const FixedValues kFixed[] = {
      {"attach", {"stderr", "stdin", "stdout"}},
      {"cgroupns", {"host", "private"}},
      {"driver", {"bridge", "cni", "host", "ipvlan", "macvlan", "none", "overlay"}},
      {"format", {"json", "table"}},
      {"ipc", {"container:", "host", "none", "private", "shareable"}},
      {"log-driver", {"fluentd", "gelf", "journald", "json-file", "local", "none", "syslog"}},
      {"log-level", {"debug", "error", "fatal", "info", "warn"}},
      {"pid", {"container:", "host"}},
      {"platform", {"linux/amd64", "linux/arm64"}},
      {"pull", {"always", "missing", "never"}},
      {"restart", {"always", "no", "on-failure", "unless-stopped"}},
      {"security-opt",
       {"apparmor=", "label=", "no-new-privileges", "seccomp=", "systempaths=unconfined"}},
      {"type", {"container", "context", "image", "network", "volume"}},
      {"userns", {"host"}},
      {"uts", {"host"}},
  };
  for (const FixedValues& fixed : kFixed) {
    if (fixed.flag != flag) continue;
    for (std::string_view value : fixed.values) out->Add(std::string(value));
    return;
  }
  if (flag == "network") return AddNetworks(cli, out);
  if (flag == "volumes-from" || flag == "link") return AddContainers(cli, {}, out);
  if (flag == "context" || flag == "from") {
    for (std::string& name : cli.ContextNames()) out->Add(std::move(name));
    return;
  }
  if (flag == "env") return AddVariables(out);
  if (flag == "signal" || flag == "stop-signal") return AddSignals(out);
  out->files = true;
}

// States in which a command takes a container; empty: all.
std::vector<std::string> StatesFor(std::string_view command) {
  for (std::string_view name : {"attach", "exec", "kill", "pause", "port", "stop", "top"}) {
    if (command == name) return {"running"};
  }
  if (command == "start") return {"created", "exited"};
  if (command == "unpause") return {"paused"};
  return {};
}

// The words of usage that stand for arguments: {"CONTAINER", "COMMAND", "ARG..."}.
std::vector<std::string> ArgumentNames(std::string_view usage) {
  std::vector<std::string> names;
  for (std::string& word : SplitWords(usage)) {
    if (word == "[OPTIONS]") continue;
    std::erase_if(word, [](char c) { return c == '[' || c == ']'; });
    names.push_back(std::move(word));
  }
  return names;
}

void AddArguments(Cli& cli, const Command& command, size_t position, Words* out) {
  std::vector<std::string> names = ArgumentNames(UsagesOf(command).front());
  if (names.empty()) return;
  // "CONTAINER [CONTAINER...]": the last one may come any number of times.
  bool repeats = names.back().size() > 3 && names.back().substr(names.back().size() - 3) == "...";
  if (position >= names.size()) {
    if (!repeats) return;
    position = names.size() - 1;
  }
  const std::string& name = names[position];
  if (StartsWith(name, "CONTAINER") || name == "NAME|ID" || name == "NAME|ID...") {
    AddContainers(cli, StatesFor(PathsOf(command)[0]), out);
    if (name[0] == 'C') return;
    AddImages(cli, out);
    AddNetworks(cli, out);
    AddVolumes(cli, out);
  } else if (StartsWith(name, "IMAGE") || StartsWith(name, "SOURCE_IMAGE") ||
             StartsWith(name, "REPOSITORY") || StartsWith(name, "NAME[:TAG")) {
    AddImages(cli, out);
  } else if (StartsWith(name, "NETWORK")) {
    AddNetworks(cli, out);
  } else if (StartsWith(name, "VOLUME")) {
    AddVolumes(cli, out);
  } else if (StartsWith(name, "CONTEXT")) {
    for (std::string& context : cli.ContextNames()) out->Add(std::move(context));
  } else if (name == "bash|zsh|fish") {
    for (std::string& shell : Split(name, '|')) out->Add(std::move(shell));
  } else {
    out->files = true;
  }
}

// The flags of `shown` as words; the long names, and the short ones once a "-" alone is typed.
void AddFlags(const std::vector<Flags::Info>& shown, std::string_view typed, Words* out) {
  for (const Flags::Info& flag : shown) {
    out->Add("--" + flag.name, flag.help);
    if (flag.shorthand != 0 && typed == "-")
      out->Add(fmt::format("-{}", flag.shorthand), flag.help);
  }
  out->Add("--help", "Show how to use it");
}

// The flag that `word` names, which wants a value behind it; nullptr otherwise.
const Flags::Info* WantsValue(const std::vector<Flags::Info>& shown, std::string_view word) {
  if (word.size() < 2 || word[0] != '-' || word.find('=') != std::string_view::npos) return nullptr;
  for (const Flags::Info& flag : shown) {
    if (flag.type.empty()) continue;
    bool is_long = word.substr(0, 2) == "--" && word.substr(2) == flag.name;
    bool is_short = word[1] != '-' && flag.shorthand != 0 && word.back() == flag.shorthand;
    if (is_long || is_short) return &flag;
  }
  return nullptr;
}

// Walks over the words in front of the last one: which flag waits for a value, how many arguments
// there are, whether flags have ended.
struct Position {
  const Flags::Info* waiting = nullptr;
  size_t arguments = 0;
  bool flags_ended = false;
};

Position Walk(const std::vector<Flags::Info>& shown, const std::vector<std::string>& words,
              Flags::Order order) {
  Position at;
  for (const std::string& word : words) {
    if (at.waiting != nullptr) {
      at.waiting = nullptr;
    } else if (!at.flags_ended && word == "--") {
      at.flags_ended = true;
    } else if (!at.flags_ended && word.size() > 1 && word[0] == '-') {
      at.waiting = WantsValue(shown, word);
    } else {
      ++at.arguments;
      if (order == Flags::Order::kBeforeArgs) at.flags_ended = true;
    }
  }
  return at;
}

void CompleteCommand(Cli& cli, const Command& command, std::vector<std::string> words,
                     const std::string& last, Words* out) {
  Flags::Order order = Flags::Order::kAnywhere;
  std::vector<Flags::Info> shown = DescribeFlags(cli, command, &order).Shown();
  Position at = Walk(shown, words, order);
  size_t equals = last.find('=');
  if (at.waiting != nullptr) {
    AddFlagValues(cli, at.waiting->name, out);
  } else if (!at.flags_ended && StartsWith(last, "--") && equals != std::string::npos) {
    Words values;
    AddFlagValues(cli, last.substr(2, equals - 2), &values);
    for (auto& [value, text] : values.words) out->Add(last.substr(0, equals + 1) + value, text);
  } else if (!at.flags_ended && StartsWith(last, "-")) {
    AddFlags(shown, last, out);
  } else {
    AddArguments(cli, command, at.arguments, out);
  }
}

void AddNames(std::string_view group, Words* out) {
  for (auto& [name, summary] : CommandsOf(group)) out->Add(name, summary);
  if (!group.empty()) return;
  for (const Group& each : Groups()) {
    if (!CommandsOf(each.name).empty()) out->Add(std::string(each.name), std::string(each.summary));
  }
  out->Add("help", "Show how to use a command");
}

// The words behind the global options; *waiting when one of those still wants its value.
std::vector<std::string> SkipGlobal(const std::vector<Flags::Info>& global,
                                    std::vector<std::string> words, const Flags::Info** waiting) {
  size_t i = 0;
  *waiting = nullptr;
  for (; i < words.size() && words[i].size() > 1 && words[i][0] == '-'; ++i) {
    const Flags::Info* flag = WantsValue(global, words[i]);
    if (flag == nullptr) continue;
    if (++i >= words.size()) *waiting = flag;
  }
  words.erase(words.begin(), words.begin() + static_cast<ptrdiff_t>(std::min(i, words.size())));
  return words;
}

// A plugin completes its own words.
Result<int> CompletePlugin(Cli& cli, const Plugin& plugin, std::vector<std::string> words) {
  words.insert(words.begin(), "__complete");
  return RunPlugin(cli, plugin, words);
}

// The plugin whose words these are, with them from its name on.
std::optional<Plugin> PluginOf(Cli& cli, std::vector<std::string>* words) {
  Cli::Options options;
  bool version = false;
  Flags global;
  BindGlobalFlags(&global, &options, &version);
  const Flags::Info* waiting = nullptr;
  std::vector<Flags::Info> shown = global.Shown();
  std::vector<std::string> rest = SkipGlobal(shown, *words, &waiting);
  if (waiting != nullptr || rest.size() < 2) return std::nullopt;
  if (FindCommand(rest[0]) != nullptr || FindGroup(rest[0]) != nullptr) return std::nullopt;
  *words = rest;
  return FindPlugin(cli, rest[0]);
}

Words Complete(Cli& cli, std::vector<std::string> words) {
  Words out;
  std::string last = words.empty() ? "" : words.back();
  if (!words.empty()) words.pop_back();
  Cli::Options options;
  bool version = false;
  Flags global;
  BindGlobalFlags(&global, &options, &version);
  std::vector<Flags::Info> shown = global.Shown();
  const Flags::Info* waiting = nullptr;
  words = SkipGlobal(shown, std::move(words), &waiting);
  if (waiting != nullptr) {
    AddFlagValues(cli, waiting->name, &out);
  } else if (words.empty()) {
    if (StartsWith(last, "-")) {
      AddFlags(shown, last, &out);
    } else {
      AddNames("", &out);
      for (const Plugin& plugin : ListPlugins(cli)) out.Add(plugin.name, "A plugin");
    }
  } else if (const Command* command = FindCommand(words[0])) {
    words.erase(words.begin());
    CompleteCommand(cli, *command, std::move(words), last, &out);
  } else if (words.size() == 1 && (words[0] == "help" || FindGroup(words[0]) != nullptr)) {
    AddNames(words[0] == "help" ? "" : words[0], &out);
  } else if (const Command* inner = FindCommand(words[0] + " " + words[1])) {
    words.erase(words.begin(), words.begin() + 2);
    CompleteCommand(cli, *inner, std::move(words), last, &out);
  } else {
    out.files = true;
  }
  std::erase_if(out.words, [&](const auto& word) { return !StartsWith(word.first, last); });
  std::sort(out.words.begin(), out.words.end());
  out.words.erase(std::unique(out.words.begin(), out.words.end()), out.words.end());
  return out;
}

Result<int> PrintCompletion(Cli& cli, Invocation& call, bool descriptions) {
  call.flags.PassThrough();
  if (auto code = call.Parse(ArgCount::AtLeast(1))) return *code;
  std::vector<std::string> words = call.args();
  if (std::optional<Plugin> plugin = PluginOf(cli, &words)) {
    return CompletePlugin(cli, *plugin, std::move(words));
  }
  Words found = Complete(cli, call.args());
  bool blank = true;
  for (const auto& [word, description] : found.words) {
    if (!word.empty() && (word.back() == '=' || word.back() == ':')) blank = false;
    std::string_view line = std::string_view(description).substr(0, description.find('\n'));
    bool described = descriptions && !line.empty();
    Print("{}{}{}\n", word, described ? "\t" : "", described ? line : "");
  }
  Print(":{}\n", (blank ? 0 : 2) + (found.files ? 0 : 4));
  return 0;
}

}  // namespace

Result<int> CompleteCommandLine(Cli& cli, Invocation& call) {
  return PrintCompletion(cli, call, true);
}

Result<int> CompleteWithoutDescriptions(Cli& cli, Invocation& call) {
  return PrintCompletion(cli, call, false);
}

}  // namespace gantry::cli
