// SPDX-License-Identifier: Apache-2.0
#include "dockerfile/instruction.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <optional>
#include <span>

#include "base/text.h"
#include "dockerfile/did_you_mean.h"
#include "dockerfile/expand.h"
#include "dockerfile/run_mount.h"
#include "formats/json.h"

namespace gantry::dockerfile {
namespace {

using formats::Json;

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

std::vector<std::string> PlainWords(std::string_view text) { return SplitWords(text, kBlanks); }

Error NeedsArgument(const Instruction& in) {
  return InvalidArgument("{} requires at least one argument", in.keyword);
}
Error NeedsOneArgument(const Instruction& in) {
  return InvalidArgument("{} requires exactly one argument", in.keyword);
}

// "k=v k2='a b'"; ENV and LABEL also have the old form "k all the rest".
Result<> ReadPairs(const Line& line, char escape, Instruction* in) {
  std::vector<std::string> words = CutWords(line.rest, escape);
  if (words.empty()) return NeedsArgument(*in);
  if (words[0].find('=') == std::string::npos) {
    size_t blank = line.rest.find_first_of(kBlanks);
    if (blank == std::string::npos) {
      return InvalidArgument("{} must have two arguments", in->keyword);
    }
    in->pairs.push_back({line.rest.substr(0, blank),
                         std::string(Trim(line.rest.substr(blank), kBlanks)), true, true});
    return {};
  }
  for (const std::string& word : words) {
    size_t equals = word.find('=');
    if (equals == std::string::npos) {
      return InvalidArgument(
          "Syntax error - can't find = in \"{}\". Must be of the form: name=value", word);
    }
    if (equals == 0) return InvalidArgument("{} names can not be blank", in->keyword);
    in->pairs.push_back({word.substr(0, equals), word.substr(equals + 1), true});
  }
  return {};
}

Result<> ReadArguments(const Line& line, char escape, Instruction* in) {
  for (const std::string& word : CutWords(line.rest, escape)) {
    size_t equals = word.find('=');
    if (equals == 0) return InvalidArgument("ARG names can not be blank");
    bool has_value = equals != std::string::npos;
    in->pairs.push_back(
        {word.substr(0, equals), has_value ? word.substr(equals + 1) : std::string(), has_value});
  }
  if (in->pairs.empty()) return NeedsArgument(*in);
  return {};
}

// RUN, CMD, ENTRYPOINT: without anything CMD and ENTRYPOINT are taken away; `RUN []` is for the
// builder to judge.
Result<> ReadCommand(const Line& line, char, Instruction* in) {
  if (auto words = JsonWords(line.rest)) {
    in->words = std::move(*words);
    in->json_form = true;
  } else if (!line.rest.empty()) {
    in->words = {line.rest};
  }
  bool bare = in->words.empty() && !in->json_form;
  if (in->kind == Kind::kRun && bare) return NeedsArgument(*in);
  return {};
}

Result<> ReadShell(const Line& line, char, Instruction* in) {
  auto words = JsonWords(line.rest);
  if (words && words->empty()) return NeedsArgument(*in);
  if (!words) return InvalidArgument("SHELL requires the arguments to be in JSON form");
  in->words = std::move(*words);
  in->json_form = true;
  return {};
}

Result<> ReadPaths(const Line& line, char escape, Instruction* in) {
  if (auto words = JsonWords(line.rest)) {
    in->words = std::move(*words);
    in->json_form = true;
  } else {
    in->words = CutWords(line.rest, escape);
  }
  if (in->words.size() < 2) {
    return InvalidArgument(
        "{} requires at least two arguments, but only {} provided. Destination "
        "could not be determined",
        in->keyword, in->words.empty() ? "none was" : "one was");
  }
  return {};
}

Result<> ReadVolume(const Line& line, char, Instruction* in) {
  auto words = JsonWords(line.rest);
  in->json_form = words.has_value();
  in->words = words ? std::move(*words) : PlainWords(line.rest);
  if (in->words.empty()) return NeedsArgument(*in);
  for (const std::string& word : in->words) {
    if (Trim(word).empty()) {
      return InvalidArgument("VOLUME specified can not be an empty string");
    }
  }
  return {};
}

Result<> ReadExpose(const Line& line, char escape, Instruction* in) {
  in->words = CutWords(line.rest, escape);
  if (in->words.empty()) return NeedsArgument(*in);
  return {};
}

Result<> ReadRest(const Line& line, char, Instruction* in) {
  if (line.rest.empty()) return NeedsOneArgument(*in);
  in->argument = line.rest;
  return {};
}

bool IsStageName(std::string_view name) {
  return !name.empty() && std::islower(static_cast<unsigned char>(name[0])) != 0 &&
         std::all_of(name.begin(), name.end(), [](unsigned char c) {
           return std::islower(c) != 0 || std::isdigit(c) != 0 || c == '-' || c == '_' || c == '.';
         });
}

Result<> ReadFrom(const Line& line, char, Instruction* in) {
  std::vector<std::string> words = PlainWords(line.rest);
  bool named = words.size() == 3 && Lower(words[1]) == "as";
  if (words.size() != 1 && !named) {
    return InvalidArgument("FROM requires either one or three arguments");
  }
  in->words = {words[0]};
  if (!named) return {};
  in->argument = Lower(words[2]);
  if (IsStageName(in->argument)) return {};
  return InvalidArgument(
      "invalid name for build stage: \"{}\", name can't start with a number or contain symbols",
      words[2]);
}

Result<> ReadHealthcheck(const Line& line, char, Instruction* in) {
  if (line.rest.empty()) return NeedsArgument(*in);
  size_t blank = std::min(line.rest.find_first_of(kBlanks), line.rest.size());
  std::string type = Lower(line.rest.substr(0, blank));
  std::string_view rest = Trim(std::string_view(line.rest).substr(blank), kBlanks);
  if (type == "none") {
    if (!rest.empty()) return InvalidArgument("HEALTHCHECK NONE takes no arguments");
    in->argument = "NONE";
    return {};
  }
  if (type != "cmd") {
    return InvalidArgument("Unknown type \"{}\" in HEALTHCHECK (try CMD)",
                           line.rest.substr(0, blank));
  }
  in->argument = "CMD";
  if (auto words = JsonWords(rest)) {
    in->words = std::move(*words);
    in->json_form = true;
  } else if (!rest.empty()) {
    in->words = {std::string(rest)};
  }
  if (in->words.empty()) return InvalidArgument("Missing command after HEALTHCHECK CMD");
  return {};
}

Result<> ReadOnBuild(const Line& line, char escape, Instruction* in) {
  if (line.rest.empty()) return NeedsArgument(*in);
  Line trigger = TRY(CutLine(line.rest, escape));
  if (trigger.keyword == "ONBUILD") {
    return InvalidArgument("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed");
  }
  if (trigger.keyword == "FROM" || trigger.keyword == "MAINTAINER") {
    return InvalidArgument("{} isn't allowed as an ONBUILD trigger", trigger.keyword);
  }
  in->argument = line.rest;
  // A trigger is kept as one line: what follows it goes with it.
  for (const Heredoc& doc : line.heredocs) in->argument += "\n" + doc.content + doc.name;
  return {};
}

struct Grammar {
  std::string_view keyword;
  Kind kind;
  Result<> (*read)(const Line& line, char escape, Instruction* in);
  // Separated by blanks; "name" alone or "name=".
  std::string_view flags;
};

constexpr Grammar kGrammar[] = {
    {"ADD", Kind::kAdd, ReadPaths, "chown= chmod= checksum= keep-git-dir link exclude= unpack"},
    {"ARG", Kind::kArg, ReadArguments, ""},
    {"CMD", Kind::kCmd, ReadCommand, ""},
    {"COPY", Kind::kCopy, ReadPaths, "from= chown= chmod= link parents exclude="},
    {"ENTRYPOINT", Kind::kEntrypoint, ReadCommand, ""},
    {"ENV", Kind::kEnv, ReadPairs, ""},
    {"EXPOSE", Kind::kExpose, ReadExpose, ""},
    {"FROM", Kind::kFrom, ReadFrom, "platform="},
    {"HEALTHCHECK", Kind::kHealthcheck, ReadHealthcheck,
     "interval= timeout= start-period= start-interval= retries="},
    {"LABEL", Kind::kLabel, ReadPairs, ""},
    {"MAINTAINER", Kind::kMaintainer, ReadRest, ""},
    {"ONBUILD", Kind::kOnBuild, ReadOnBuild, ""},
    {"RUN", Kind::kRun, ReadCommand, "mount= network= security="},
    {"SHELL", Kind::kShell, ReadShell, ""},
    {"STOPSIGNAL", Kind::kStopSignal, ReadRest, ""},
    {"USER", Kind::kUser, ReadRest, ""},
    {"VOLUME", Kind::kVolume, ReadVolume, ""},
    {"WORKDIR", Kind::kWorkdir, ReadRest, ""},
};

Error UnknownFlag(const Flag& flag, std::vector<std::string> names) {
  for (std::string& name : names) {
    if (name.ends_with('=')) name.pop_back();
  }
  return InvalidArgument("unknown flag: --{}{}", flag.name, DidYouMean(flag.name, names));
}

Result<> CheckFlags(const Line& line, std::string_view known) {
  std::vector<std::string> names = SplitWords(known);
  for (const Flag& flag : line.flags) {
    bool takes = std::find(names.begin(), names.end(), flag.name + "=") != names.end();
    bool alone = std::find(names.begin(), names.end(), flag.name) != names.end();
    if (!takes && !alone) return UnknownFlag(flag, std::move(names));
    if (takes && !flag.has_value)
      return InvalidArgument("missing a value on flag: --{}", flag.name);
    if (alone && flag.has_value && flag.value != "true" && flag.value != "false") {
      return InvalidArgument("expecting boolean value for flag --{}, not: {}", flag.name,
                             flag.value);
    }
  }
  return {};
}

// What a stage is made of must be known before any variable.
Result<> CheckFrom(const Instruction& in) {
  for (const Flag& flag : in.flags) {
    if (in.kind == Kind::kRun && flag.name == "mount") TRY(CheckFromOfRunMount(flag.value));
    bool names = flag.name == "from" && flag.value.find('$') != std::string::npos;
    if (in.kind != Kind::kCopy || !names) continue;
    Expander expander{[](const std::string&) { return std::optional<std::string>(); }, '\\'};
    if (TRY(expander.Word(flag.value)) == flag.value) continue;
    return InvalidArgument(
        "variable expansion is not supported for --from, define a new stage with FROM using ARG "
        "from global scope as a workaround");
  }
  return {};
}

Error UnknownInstruction(const Line& line) {
  std::vector<std::string> keywords;
  for (const Grammar& one : kGrammar) keywords.emplace_back(one.keyword);
  std::string meant = DidYouMean(line.keyword, keywords);
  if (line.written == Lower(line.written)) {
    // As it was typed.
    meant = Lower(meant);
  }
  return InvalidArgument("unknown instruction: {}{}", line.written, meant);
}

Result<Instruction> Read(Line line, char escape) {
  auto grammar = std::find_if(std::begin(kGrammar), std::end(kGrammar),
                              [&](const Grammar& one) { return one.keyword == line.keyword; });
  if (grammar == std::end(kGrammar)) return UnknownInstruction(line);
  Instruction in;
  in.kind = grammar->kind;
  in.keyword = line.keyword;
  in.written = line.written;
  in.text = line.original;
  in.line = line.number;
  in.last_line = line.last;
  in.empty_line = line.empty;
  in.comments = line.comments;
  // What ONBUILD keeps has flags of its own.
  if (in.kind != Kind::kOnBuild) TRY(CheckFlags(line, grammar->flags));
  TRY(grammar->read(line, escape, &in));
  in.flags = std::move(line.flags);
  in.heredocs = std::move(line.heredocs);
  TRY(CheckFrom(in));
  return in;
}

}  // namespace

const Flag* Instruction::FindFlag(std::string_view name) const {
  const Flag* found = nullptr;
  for (const Flag& flag : flags) {
    if (flag.name == name) found = &flag;
  }
  return found;
}

int Dockerfile::FindStage(std::string_view name, size_t before) const {
  before = std::min(before, stages.size());
  if (auto found = named.find(Lower(name)); found != named.end()) {
    // The last of that name.
    const std::vector<size_t>& numbers = found->second;
    auto behind = std::lower_bound(numbers.begin(), numbers.end(), before);
    if (behind != numbers.begin()) return static_cast<int>(*--behind);
  }
  size_t number = 0;
  auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  bool good = error == std::errc() && end == name.data() + name.size() && number < before;
  return good ? static_cast<int>(number) : -1;
}

Result<size_t> Dockerfile::FindTarget(const std::string& name) const {
  if (name.empty()) return stages.size() - 1;
  int found = FindStage(name, stages.size());
  if (found >= 0) return static_cast<size_t>(found);
  std::vector<std::string> names;
  for (const Stage& stage : stages) names.push_back(stage.from.argument);
  return InvalidArgument("target stage \"{}\" could not be found{}", name, DidYouMean(name, names));
}

std::vector<bool> Dockerfile::NeededStages(
    size_t target, const Lookup& global,
    const std::function<bool(const std::string& name)>& is_elsewhere) const {
  std::vector<bool> needed(stages.size(), false);
  needed[target] = true;
  // Stages refer to earlier ones only: one pass from the target backwards finds all.
  for (size_t i = target + 1; i-- > 0;) {
    if (!needed[i]) continue;
    auto need = [&](const std::string& name) {
      int found = is_elsewhere(name) ? -1 : FindStage(name, i);
      if (found >= 0) needed[static_cast<size_t>(found)] = true;
      return found;
    };
    auto need_all = [&](const Instruction& in) {
      for (const Flag& flag : in.flags) {
        if (flag.name == "from") need(flag.value);
        if (flag.name == "mount") need(FromOfRunMount(flag.value));
      }
    };
    for (const Instruction& in : stages[i].instructions) need_all(in);
    // What can't be expanded is an error of whoever makes the stage.
    Result<std::string> name = Expander{global, escape}.Word(stages[i].from.words[0]);
    int base = name.ok() ? need(*name) : -1;
    if (base < 0) continue;
    // Its triggers are instructions of this stage.
    for (const Instruction& in : stages[static_cast<size_t>(base)].instructions) {
      if (in.kind != Kind::kOnBuild) continue;
      Result<Instruction> trigger = ParseInstruction(in.argument, escape);
      if (trigger.ok()) need_all(*trigger);
    }
  }
  return needed;
}

Parsed ParseAsFarAsPossible(std::string_view text) {
  Parsed out;
  Result<Source> source = CutLines(text);
  if (!source.ok()) {
    out.error = source.error();
    return out;
  }
  Dockerfile& file = out.file;
  file.escape = source->escape;
  file.syntax = source->syntax;
  file.check = source->check;
  for (Line& line : source->lines) {
    out.first_line = line.number;
    out.last_line = line.last;
    Result<Instruction> read = Read(std::move(line), source->escape);
    if (read.ok() && read->kind != Kind::kFrom && read->kind != Kind::kArg && file.stages.empty()) {
      read = InvalidArgument("no build stage in current context");
    }
    if (!read.ok()) {
      out.error = InvalidArgument("dockerfile parse error on line {}: {}", out.first_line,
                                  read.error().message());
      return out;
    }
    if (read->kind == Kind::kFrom) {
      if (!read->argument.empty()) file.named[read->argument].push_back(file.stages.size());
      file.stages.push_back({*std::move(read), {}});
    } else {
      (file.stages.empty() ? file.arguments : file.stages.back().instructions)
          .push_back(*std::move(read));
    }
  }
  out.first_line = out.last_line = 0;
  if (!file.stages.empty()) return out;
  out.error = file.arguments.empty() ? InvalidArgument("file with no instructions")
                                     : InvalidArgument("dockerfile contains no stages to build");
  return out;
}

Result<Dockerfile> Parse(std::string_view text) {
  Parsed parsed = ParseAsFarAsPossible(text);
  if (parsed.error) return *std::move(parsed.error);
  return std::move(parsed.file);
}

Result<Instruction> ParseInstruction(std::string_view text, char escape) {
  Source source = TRY(CutLines(text));
  if (source.lines.size() != 1) {
    return InvalidArgument("one instruction was expected, not {}", source.lines.size());
  }
  return Read(std::move(source.lines[0]), escape);
}

}  // namespace gantry::dockerfile
