// SPDX-License-Identifier: Apache-2.0
#include "engine/image_instructions.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <filesystem>
#include <optional>
#include <string_view>
#include <utility>

#include "base/text.h"
#include "engine/signals.h"
#include "formats/human_units.h"
#include "formats/json.h"

namespace gantry::engine {
namespace {

using dockerfile::Expander;
using dockerfile::Instruction;
using dockerfile::Kind;

// As Go prints a list of strings: ["sh" "-c"].
std::string Quoted(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) {
    if (!out.empty()) out.push_back(' ');
    formats::AppendJsonString(&out, word);
  }
  return "[" + out + "]";
}

// "80", "80/tcp", "8000-8010/udp".
Result<> Expose(const std::string& word, ContainerConfig* config) {
  size_t slash = word.find('/');
  std::string protocol = slash == std::string::npos ? "tcp" : word.substr(slash + 1);
  for (char& c : protocol) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
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
    config->exposed_ports.names.insert(fmt::format("{}/{}", port, protocol));
  }
  return {};
}

Result<> SetHealthFlag(const dockerfile::Flag& flag, Healthcheck* check) {
  const std::string& value = flag.value;
  if (flag.name == "retries") {
    auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), check->retries);
    if (error == std::errc() && end == value.data() + value.size()) return {};
    return InvalidArgument("invalid value for --retries: {}", value);
  }
  struct Duration {
    const char* name;
    int64_t* field;
  };
  for (const Duration& duration : std::to_array<Duration>({
           {"interval", &check->interval},
           {"timeout", &check->timeout},
           {"start-period", &check->start_period},
           {"start-interval", &check->start_interval},
       })) {
    if (flag.name == duration.name) {
      *duration.field = TRY(formats::ParseGoDuration(value)).count();
    }
  }
  return {};
}

Result<std::string> SetHealthcheck(const Instruction& in, ContainerConfig* config) {
  Healthcheck check;
  for (const dockerfile::Flag& flag : in.flags) TRY(SetHealthFlag(flag, &check));
  if (in.argument == "NONE") {
    check.test = {"NONE"};
  } else {
    check.test = {in.json_form ? "CMD" : "CMD-SHELL"};
    check.test.insert(check.test.end(), in.words.begin(), in.words.end());
  }
  std::string text = "HEALTHCHECK " + Quoted(check.test);
  config->healthcheck = std::move(check);
  return text;
}

Result<std::string> SetVariables(const Instruction& in, const Expander& expander,
                                 ContainerConfig* config) {
  std::string text = in.keyword;
  // Values see the variables of before this instruction.
  std::vector<std::pair<std::string, std::string>> pairs;
  for (const dockerfile::Pair& pair : in.pairs) {
    std::string name = TRY(expander.Word(pair.name));
    if (name.empty()) return InvalidArgument("{} names can not be blank", in.keyword);
    pairs.emplace_back(std::move(name), TRY(expander.Word(pair.value)));
  }
  for (const auto& [name, value] : pairs) {
    text += fmt::format(" {}={}", name, value);
    if (in.kind == Kind::kEnv) {
      SetVariable(name, value, config);
    } else {
      config->labels[name] = value;
    }
  }
  return text;
}

Result<std::string> AddVolumes(const Instruction& in, const Expander& expander,
                               ContainerConfig* config) {
  std::vector<std::string> volumes;
  for (const std::string& word : in.words) {
    std::string volume = TRY(expander.Word(word));
    if (volume.find_first_not_of(" \t") == std::string::npos) {
      return InvalidArgument("VOLUME specified can not be an empty string");
    }
    config->volumes.names.insert(volume);
    volumes.push_back(std::move(volume));
  }
  std::string text;
  for (const std::string& volume : volumes) text += (text.empty() ? "" : " ") + volume;
  return "VOLUME [" + text + "]";
}

Result<std::string> AddPorts(const Instruction& in, const Expander& expander,
                             ContainerConfig* config) {
  std::string text = "EXPOSE";
  for (const std::string& word : in.words) {
    for (const std::string& port : TRY(expander.Words(word))) {
      TRY(Expose(port, config));
      text += " " + port;
    }
  }
  return text;
}

}  // namespace

std::vector<std::string> CommandWords(const Instruction& in, const ContainerConfig& config) {
  if (in.json_form || in.words.empty()) return in.words;
  std::vector<std::string> words =
      config.shell.empty() ? std::vector<std::string>{"/bin/sh", "-c"} : config.shell;
  words.push_back(in.words[0]);
  return words;
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

std::optional<std::string> VariableOf(const ContainerConfig& config, const std::string& name) {
  for (const std::string& variable : config.env) {
    if (variable.size() > name.size() && variable.starts_with(name) &&
        variable[name.size()] == '=') {
      return variable.substr(name.size() + 1);
    }
  }
  return std::nullopt;
}

std::string FromWorkingDirectory(const ContainerConfig& config, const std::string& path) {
  std::filesystem::path base = config.working_dir.empty() ? "/" : config.working_dir;
  return CleanPath((std::filesystem::path("/") / base / path).string());
}

Result<std::string> ConfigEditor::Apply(const Instruction& in, const Expander& expander) {
  switch (in.kind) {
    case Kind::kCmd:
      config_->cmd = {.set = true, .words = CommandWords(in, *config_)};
      has_cmd_ = !config_->cmd.words.empty();
      return "CMD " + Quoted(config_->cmd.words);
    case Kind::kEntrypoint:
      config_->entrypoint = {.set = true, .words = CommandWords(in, *config_)};
      // A command that was meant for another entry point.
      if (!has_cmd_) config_->cmd = CommandLine();
      return "ENTRYPOINT " + Quoted(config_->entrypoint.words);
    case Kind::kEnv:
    case Kind::kLabel:
      return SetVariables(in, expander, config_);
    case Kind::kExpose:
      return AddPorts(in, expander, config_);
    case Kind::kHealthcheck:
      return SetHealthcheck(in, config_);
    case Kind::kOnBuild:
      config_->on_build.push_back(in.argument);
      return "ONBUILD " + in.argument;
    case Kind::kShell:
      config_->shell = in.words;
      return "SHELL " + Quoted(in.words);
    case Kind::kStopSignal:
      config_->stop_signal = TRY(expander.Word(in.argument));
      TRY(ParseSignal(config_->stop_signal));
      return "STOPSIGNAL " + config_->stop_signal;
    case Kind::kUser:
      config_->user = TRY(expander.Word(in.argument));
      return "USER " + config_->user;
    case Kind::kVolume:
      return AddVolumes(in, expander, config_);
    case Kind::kWorkdir:
      config_->working_dir = FromWorkingDirectory(*config_, TRY(expander.Word(in.argument)));
      return "WORKDIR " + config_->working_dir;
    default:
      return Unimplemented("{} changes more than the configuration", in.keyword);
  }
}

formats::Json ImageConfig(ContainerConfig config) {
  if (config.entrypoint.words.empty()) config.entrypoint = {};
  if (config.cmd.words.empty()) config.cmd = {};
  return ToJson(config);
}

}  // namespace gantry::engine
