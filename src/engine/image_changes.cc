// SPDX-License-Identifier: Apache-2.0
#include "engine/image_changes.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <filesystem>
#include <optional>
#include <string_view>
#include <utility>

#include "base/text.h"
#include "formats/human_units.h"
#include "formats/json.h"

namespace gantry::engine {
namespace {

using formats::Json;

constexpr std::string_view kBlanks = " \t";

std::string_view Trimmed(std::string_view text) {
  size_t begin = text.find_first_not_of(kBlanks);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlanks) - begin + 1);
}

std::string Upper(std::string text) {
  for (char& c : text) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return text;
}

std::string Lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

bool IsNameCharacter(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; }

std::string ValueOf(const ContainerConfig& config, const std::string& name) {
  for (const std::string& variable : config.env) {
    if (variable.starts_with(name + "=")) return variable.substr(name.size() + 1);
  }
  return "";
}

// $NAME and ${NAME} by the image's own variables; a backslash takes the meaning from what follows.
std::string Expanded(const ContainerConfig& config, std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 1 < text.size() && text[i + 1] == '$') {
      out.push_back(text[++i]);
    } else if (text[i] == '$' && i + 1 < text.size() && text[i + 1] == '{') {
      size_t end = std::min(text.find('}', i), text.size());
      out += ValueOf(config, std::string(text.substr(i + 2, end - i - 2)));
      i = end;
    } else if (text[i] == '$' && i + 1 < text.size() && IsNameCharacter(text[i + 1])) {
      size_t end = i + 1;
      while (end < text.size() && IsNameCharacter(text[end])) ++end;
      out += ValueOf(config, std::string(text.substr(i + 1, end - i - 1)));
      i = end - 1;
    } else {
      out.push_back(text[i]);
    }
  }
  return out;
}

// Words with quotes taken off and backslashes followed, as a shell cuts them.
Result<std::vector<std::string>> QuotedWords(std::string_view text) {
  std::vector<std::string> words;
  char quote = 0;
  bool open = false;
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (quote == 0 && kBlanks.find(c) != std::string_view::npos) {
      open = false;
      continue;
    }
    if (!std::exchange(open, true)) words.emplace_back();
    if (quote != 0 && c == quote) {
      quote = 0;
    } else if (quote == 0 && (c == '"' || c == '\'')) {
      quote = c;
    } else if (c == '\\' && quote != '\'' && i + 1 < text.size() && text[i + 1] != '$') {
      words.back().push_back(text[++i]);
    } else {
      words.back().push_back(c);
    }
  }
  if (quote != 0) {
    return InvalidArgument("unexpected end of statement while looking for matching quote");
  }
  return words;
}

// "k=v k2='a b'", or the old form "k all the rest".
Result<std::vector<std::pair<std::string, std::string>>> Pairs(const std::string& instruction,
                                                               std::string_view rest) {
  std::vector<std::pair<std::string, std::string>> pairs;
  size_t blank = rest.find_first_of(kBlanks);
  if (rest.substr(0, blank).find('=') == std::string_view::npos) {
    if (blank == std::string_view::npos) {
      return InvalidArgument("{} must have two arguments", instruction);
    }
    pairs.emplace_back(rest.substr(0, blank), Trimmed(rest.substr(blank)));
    return pairs;
  }
  for (const std::string& word : TRY(QuotedWords(rest))) {
    size_t equals = word.find('=');
    if (equals == std::string::npos) {
      return InvalidArgument(
          "Syntax error - can't find = in \"{}\". Must be of the form: name=value", word);
    }
    if (equals == 0) return InvalidArgument("{} names can not be blank", instruction);
    pairs.emplace_back(word.substr(0, equals), word.substr(equals + 1));
  }
  return pairs;
}

// A JSON array of strings; nothing when it is none.
std::optional<std::vector<std::string>> JsonWords(std::string_view text) {
  if (!text.starts_with('[')) return std::nullopt;
  Result<Json> json = Json::Parse(text);
  if (!json.ok() || !json->is_array()) return std::nullopt;
  std::vector<std::string> words;
  for (const Json& item : json->items()) {
    if (!item.is_string()) return std::nullopt;
    words.push_back(item.AsString());
  }
  return words;
}

CommandLine Command(const ContainerConfig& config, std::string_view rest) {
  CommandLine command{.set = true};
  if (rest.empty()) return command;
  if (auto words = JsonWords(rest)) {
    command.words = std::move(*words);
    return command;
  }
  command.words = config.shell.empty() ? std::vector<std::string>{"/bin/sh", "-c"} : config.shell;
  command.words.emplace_back(rest);
  return command;
}

void Add(const std::string& name, NameSet* set) {
  if (std::find(set->names.begin(), set->names.end(), name) == set->names.end()) {
    set->names.push_back(name);
  }
}

void SetVariable(const std::string& name, const std::string& value, ContainerConfig* config) {
  for (std::string& variable : config->env) {
    if (variable.substr(0, variable.find('=')) == name) {
      variable = name + "=" + value;
      return;
    }
  }
  config->env.push_back(name + "=" + value);
}

// "80", "80/tcp", "8000-8010/udp".
Result<> Expose(const std::string& word, ContainerConfig* config) {
  size_t slash = word.find('/');
  std::string protocol = slash == std::string::npos ? "tcp" : word.substr(slash + 1);
  std::string ports = word.substr(0, slash);
  size_t dash = ports.find('-');
  auto number = [](std::string_view text) {
    uint16_t port = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
    return error == std::errc() && end == text.data() + text.size() ? int{port} : 0;
  };
  int first = number(std::string_view(ports).substr(0, dash));
  int last = dash == std::string::npos ? first : number(std::string_view(ports).substr(dash + 1));
  if (first == 0 || last < first) return InvalidArgument("invalid containerPort: {}", ports);
  if (protocol != "tcp" && protocol != "udp" && protocol != "sctp") {
    return InvalidArgument("invalid proto: {}", protocol);
  }
  for (int port = first; port <= last; ++port) {
    Add(fmt::format("{}/{}", port, protocol), &config->exposed_ports);
  }
  return {};
}

Result<> SetHealthFlag(const std::string& flag, Healthcheck* check) {
  size_t equals = flag.find('=');
  std::string name = flag.substr(0, equals);
  std::string value = equals == std::string::npos ? "" : flag.substr(equals + 1);
  if (name == "--retries") {
    auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), check->retries);
    if (error == std::errc() && end == value.data() + value.size()) return {};
    return InvalidArgument("invalid value for --retries: {}", value);
  }
  struct Duration {
    const char* name;
    int64_t* field;
  };
  for (const Duration& duration : std::to_array<Duration>({
           {"--interval", &check->interval},
           {"--timeout", &check->timeout},
           {"--start-period", &check->start_period},
           {"--start-interval", &check->start_interval},
       })) {
    if (name != duration.name) continue;
    *duration.field = TRY(formats::ParseGoDuration(value)).count();
    return {};
  }
  return InvalidArgument("unknown flag: {}", name);
}

Result<> SetHealthcheck(std::string_view rest, ContainerConfig* config) {
  Healthcheck check;
  while (rest.starts_with("--")) {
    size_t end = std::min(rest.find_first_of(kBlanks), rest.size());
    TRY(SetHealthFlag(std::string(rest.substr(0, end)), &check));
    rest = Trimmed(rest.substr(end));
  }
  size_t blank = std::min(rest.find_first_of(kBlanks), rest.size());
  std::string kind = Upper(std::string(rest.substr(0, blank)));
  rest = Trimmed(rest.substr(blank));
  if (kind == "NONE") {
    if (!rest.empty()) return InvalidArgument("HEALTHCHECK NONE takes no arguments");
    check.test = {"NONE"};
  } else if (kind == "CMD") {
    if (rest.empty()) return InvalidArgument("Missing command after HEALTHCHECK CMD");
    if (auto words = JsonWords(rest)) {
      check.test = {"CMD"};
      check.test.insert(check.test.end(), words->begin(), words->end());
    } else {
      check.test = {"CMD-SHELL", std::string(rest)};
    }
  } else {
    return InvalidArgument("Unknown type \"{}\" in HEALTHCHECK (try CMD)", kind);
  }
  config->healthcheck = std::move(check);
  return {};
}

struct Instructions {
  ContainerConfig* config;
  bool has_cmd = false;

  Result<> Apply(const std::string& name, std::string_view rest) {
    if (name == "CMD") {
      has_cmd = true;
      config->cmd = Command(*config, rest);
    } else if (name == "ENTRYPOINT") {
      config->entrypoint = Command(*config, rest);
      // A command that was meant for another entry point.
      if (!has_cmd) config->cmd = CommandLine();
    } else if (name == "ENV") {
      for (const auto& [key, value] : TRY(Pairs(name, rest))) {
        SetVariable(key, Expanded(*config, value), config);
      }
    } else if (name == "LABEL") {
      for (const auto& [key, value] : TRY(Pairs(name, rest))) {
        config->labels[key] = Expanded(*config, value);
      }
    } else if (name == "EXPOSE") {
      for (const std::string& word : SplitWords(Expanded(*config, rest))) {
        TRY(Expose(word, config));
      }
    } else if (name == "VOLUME") {
      return AddVolumes(Expanded(*config, rest));
    } else if (name == "WORKDIR") {
      std::string path = Expanded(*config, rest);
      std::string base = config->working_dir.empty() ? "/" : config->working_dir;
      config->working_dir = (std::filesystem::path(base) / path).lexically_normal();
    } else if (name == "USER") {
      config->user = Expanded(*config, rest);
    } else if (name == "STOPSIGNAL") {
      config->stop_signal = Expanded(*config, rest);
    } else if (name == "ONBUILD") {
      config->on_build.emplace_back(rest);
    } else {
      return SetHealthcheck(rest, config);
    }
    return {};
  }

  Result<> AddVolumes(const std::string& text) {
    std::vector<std::string> words = JsonWords(text).value_or(SplitWords(text));
    for (const std::string& word : words) {
      if (word.empty()) return InvalidArgument("VOLUME specified can not be an empty string");
      Add(word, &config->volumes);
    }
    return {};
  }
};

constexpr auto kKnown =
    std::to_array<std::string_view>({"CMD", "ENTRYPOINT", "ENV", "EXPOSE", "HEALTHCHECK", "LABEL",
                                     "ONBUILD", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR"});
}  // namespace

Result<> ApplyChanges(const std::vector<std::string>& lines, ContainerConfig* config) {
  Instructions instructions{config};
  std::vector<std::string> all;
  for (const std::string& line : lines) {
    for (std::string& one : Split(line, '\n')) all.push_back(std::move(one));
  }
  for (const std::string& line : all) {
    std::string_view text = Trimmed(line);
    if (text.empty()) continue;
    size_t blank = std::min(text.find_first_of(kBlanks), text.size());
    std::string name = Upper(std::string(text.substr(0, blank)));
    std::string_view rest = Trimmed(text.substr(blank));
    if (std::find(kKnown.begin(), kKnown.end(), name) == kKnown.end()) {
      return InvalidArgument("{} is not a valid change command", Lower(name));
    }
    // docker takes an empty command for none.
    if (rest.empty() && name != "CMD" && name != "ENTRYPOINT") {
      return InvalidArgument("{} requires at least one argument", name);
    }
    TRY(instructions.Apply(name, rest));
  }
  return {};
}

}  // namespace gantry::engine
