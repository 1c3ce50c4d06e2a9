// SPDX-License-Identifier: Apache-2.0
#include "dockerfile/lint.h"

#include <algorithm>
#include <utility>

#include "base/number.h"
#include "base/text.h"
#include "dockerfile/did_you_mean.h"
#include "dockerfile/expand.h"
#include "dockerfile/lint_rules.h"
#include "formats/reference.h"

namespace gantry::dockerfile {
namespace {

// What a hostile file may cost: warnings, variables that stages have from others.
constexpr size_t kMostWarnings = 1000;
constexpr size_t kMostInherited = 100'000;
constexpr size_t kMostExpanded = size_t{64} << 20;  // bytes of all values together

bool IsLower(std::string_view text) { return Lower(text) == text; }
bool IsUpper(std::string_view text) { return Upper(text) == text; }

template <typename Map>
std::vector<std::string> KeysOf(const Map& map) {
  std::vector<std::string> out;
  for (const auto& [key, value] : map) {
    if (out.size() == kMostNames) break;
    out.push_back(key);
  }
  return out;
}

bool NamesSecret(std::string_view name) {
  auto has = [parts = Split(Lower(name), '_')](std::initializer_list<std::string_view> words) {
    return std::any_of(words.begin(), words.end(),
                       [&](std::string_view word) { return Contains(parts, word); });
  };
  return has({"apikey", "auth", "credential", "credentials", "key", "password", "pword", "passwd",
              "secret", "token"}) &&
         !has({"public", "file", "version"});
}

// A source that is no path of the context.
bool IsElsewhere(const std::string& source) {
  return source.find("://") != std::string::npos || source.starts_with("git@");
}

class Linter {
 public:
  explicit Linter(const LintRequest& request) : request_(request), file_(request.file) {}

  std::vector<Warning> Run() {
    for (const Instruction& in : file_.arguments) CheckWriting(in);
    for (const Stage& stage : file_.stages) {
      CheckWriting(stage.from);
      for (const Instruction& in : stage.instructions) CheckWriting(in);
    }
    if (!request_.whole) return std::move(warnings_);
    CheckStageNames();
    CheckCasing();
    CheckDefaults();
    DeclareGlobals();
    for (const Stage& stage : file_.stages) CheckFrom(stage.from);
    facts_.resize(file_.stages.size());
    for (size_t i = 0; i < file_.stages.size(); ++i) {
      if (i < request_.stages.size() && request_.stages[i]) CheckStage(i);
      const std::string& name = file_.stages[i].from.argument;
      if (!name.empty()) numbers_[name] = i;
    }
    return std::move(warnings_);
  }

 private:
  // What is known of a stage so far.
  struct Facts {
    std::map<std::string, std::string> variables;
    std::set<std::string> declared;  // by ARG, also those without a value
    bool knows_variables = true;
    bool has_shell = false;
    bool has_workdir = false;
  };
  // A word with its variables put in.
  struct Expanded {
    std::string text;
    std::set<std::string> found, missing;
  };

  // --- what is told ---

  bool IsSilent(const Rule& rule, const CheckOptions& options) const {
    if (rule.experimental) return !options.tries_all && !options.tried.contains(rule.name);
    return options.skips_all || options.skipped.contains(rule.name);
  }

  void Warn(const Rule& rule, int first, int last, std::string detail) {
    if (!IsSilent(rule, request_.options)) Tell(rule, first, last, std::move(detail));
  }
  void Tell(const Rule& rule, int first, int last, std::string detail) {
    if (warnings_.size() < kMostWarnings) {
      warnings_.push_back({&rule, std::move(detail), first, last});
    }
  }
  void WarnOfAll(const Rule& rule, const Instruction& in, std::string detail) {
    Warn(rule, in.line, in.last_line, std::move(detail));
  }
  // Unless a comment above the instruction skips the rule.
  void WarnOf(const Rule& rule, const Instruction& in, std::string detail) {
    for (const std::string& comment : in.comments) {
      auto directive = ReadDirective(comment);
      if (!directive || directive->first != "check") continue;
      const std::string& text = directive->second;
      auto own = ParseCheckOptions(std::string_view(text).substr(0, text.find(' ')));
      if (!own.ok()) break;
      if (rule.experimental && !IsSilent(rule, *own)) {
        return Tell(rule, in.line, in.last_line, std::move(detail));
      }
      if (!rule.experimental && IsSilent(rule, *own)) return;
      break;
    }
    WarnOfAll(rule, in, std::move(detail));
  }

  // --- how it is written ---

  void CheckWriting(const Instruction& in) {
    if (in.empty_line != 0) {
      Warn(kNoEmptyContinuation, in.empty_line, in.empty_line,
           "A line that goes on is followed by an empty one");
    }
    if (in.kind == Kind::kMaintainer) {
      WarnOf(kMaintainerDeprecated, in, "MAINTAINER is deprecated, a label says the same");
    }
    if (in.kind == Kind::kFrom) CheckFromWords(in);
    std::vector<std::string> names;
    if (in.kind == Kind::kArg) {
      for (const Pair& pair : in.pairs) names.push_back(pair.name);
    } else if (in.kind == Kind::kFrom && !in.argument.empty()) {
      names.push_back(in.argument);
    }
    if (names.empty() || in.comments.empty()) return;
    const std::string& comment = in.comments.back();
    if (Contains(names, comment.substr(0, comment.find(' ')))) return;
    WarnOf(kInvalidDefinitionDescription, in,
           fmt::format("A comment that describes {} has the form \"# {} <description>\"",
                       in.keyword, names.size() == 1 ? names[0] : "<arg_key>"));
  }

  void CheckFromWords(const Instruction& in) {
    std::vector<std::string> words = SplitWords(in.text, kBlanks);
    if (in.argument.empty() || words.size() < 4) return;
    const std::string& name = words.back();
    const std::string& as = words[words.size() - 2];
    if (!IsLower(name)) {
      WarnOf(kStageNameCasing, in, fmt::format("Stage name '{}' should be lower case", name));
    }
    bool fits = IsLower(in.written)   ? IsLower(as)
                : IsUpper(in.written) ? IsUpper(as)
                                      : true;  // that is another rule's
    if (!fits) {
      WarnOf(kFromAsCasing, in, fmt::format("'{}' is not written like '{}'", as, in.written));
    }
  }

  void CheckStageNames() {
    std::set<std::string> seen;
    for (const Stage& stage : file_.stages) {
      const std::string& name = stage.from.argument;
      if (name.empty()) continue;
      if (name == "scratch" || name == "context") {
        WarnOfAll(kReservedStageName, stage.from,
                  fmt::format("Stage name \"{}\" is a reserved word", name));
      }
      if (!seen.insert(name).second) {
        WarnOfAll(kDuplicateStageName, stage.from,
                  fmt::format("Stage name \"{}\" is used more than once", name));
      }
    }
  }

  // All like most of them.
  void CheckCasing() {
    std::vector<const Instruction*> all;
    for (const Stage& stage : file_.stages) {
      all.push_back(&stage.from);
      for (const Instruction& in : stage.instructions) all.push_back(&in);
    }
    auto count = [&](bool (*is)(std::string_view)) {
      return std::count_if(all.begin(), all.end(), [&](auto* in) { return is(in->written); });
    };
    bool lower = count(IsLower) > count(IsUpper);
    for (const Instruction* in : all) {
      if (lower ? IsLower(in->written) : IsUpper(in->written)) continue;
      WarnOfAll(kConsistentInstructionCasing, *in,
                fmt::format("Command '{}' should be written like most of them ({})", in->written,
                            lower ? "lowercase" : "uppercase"));
    }
  }

  // --- variables ---

  Expanded Expand(const std::string& word, const std::map<std::string, std::string>& variables,
                  bool keeps_quotes = false) {
    Expanded out;
    Expander expander;
    expander.escape = file_.escape;
    expander.lookup = [&](const std::string& name) -> std::optional<std::string> {
      auto found = variables.find(name);
      (found == variables.end() ? out.missing : out.found).insert(name);
      if (found == variables.end()) return std::nullopt;
      return found->second;
    };
    Result<std::string> text = keeps_quotes ? expander.Text(word) : expander.Word(word);
    // What can't be expanded is the build's error.
    if (text.ok() && (expanded_ += text->size()) <= kMostExpanded) out.text = *std::move(text);
    return out;
  }

  // The base images must have names when no argument is given, too.
  void CheckDefaults() {
    std::map<std::string, std::string> defaults = request_.predefined;
    for (const Instruction& in : file_.arguments) {
      for (const Pair& pair : in.pairs) {
        if (pair.has_value) defaults[pair.name] = Expand(pair.value, defaults).text;
      }
    }
    for (const Stage& stage : file_.stages) {
      const std::string& written = stage.from.words[0];
      if (formats::ParseReference(Expand(written, defaults).text).ok()) continue;
      WarnOfAll(kInvalidDefaultArgInFrom, stage.from,
                fmt::format("The default value of {} is no name of an image", written));
    }
  }

  void DeclareGlobals() {
    globals_ = request_.predefined;
    for (const auto& [name, value] : request_.given) {
      if (globals_.contains(name) && value) globals_[name] = *value;
    }
    for (const auto& [name, value] : globals_) global_names_.insert(name);
    for (const Instruction& in : file_.arguments) {
      for (const Pair& pair : in.pairs) {
        global_names_.insert(pair.name);
        auto given = request_.given.find(pair.name);
        if (given != request_.given.end() && given->second) {
          globals_[pair.name] = *given->second;
        } else if (pair.has_value) {
          globals_[pair.name] = Expand(pair.value, globals_).text;
        }
      }
    }
  }

  void CheckFrom(const Instruction& in) {
    ReportInFrom(in, Expand(in.words[0], globals_));
    const Flag* flag = in.FindFlag("platform");
    if (flag == nullptr || flag->value.empty()) return;
    Expanded platform = Expand(flag->value, globals_);
    ReportInFrom(in, platform);
    bool is_target = platform.missing.empty() && platform.found.size() == 1 &&
                     platform.found.contains("TARGETPLATFORM") &&
                     platform.text == globals_["TARGETPLATFORM"];
    if (is_target) {
      WarnOf(kRedundantTargetPlatform, in,
             fmt::format("{} is the platform of FROM without a flag", flag->value));
    }
    if (!platform.found.empty() || !platform.missing.empty()) return;
    auto parts = request_.read_platform(platform.text);
    if (!parts) return;
    bool named = in.argument.find(parts->os) != std::string::npos ||
                 in.argument.find(parts->architecture) != std::string::npos;
    if (named) return;
    WarnOf(kFromPlatformFlagConstDisallowed, in,
           fmt::format("--platform of FROM should not be the constant \"{}\"", platform.text));
  }

  void ReportInFrom(const Instruction& in, const Expanded& word) {
    for (const std::string& name : word.missing) {
      if (global_names_.contains(name)) continue;
      WarnOf(kUndefinedArgInFrom, in,
             fmt::format("FROM argument '{}' is not declared{}", name,
                         DidYouMean(name, global_names_)));
    }
  }

  // --- the instructions of a stage ---

  void CheckStage(size_t number) {
    const Stage& stage = file_.stages[number];
    facts_[number] = FactsOfBase(number);
    Facts& facts = facts_[number];
    facts.variables.try_emplace("PATH", "");
    const Instruction* last[3] = {};  // CMD, ENTRYPOINT, HEALTHCHECK
    for (const Instruction& in : stage.instructions) {
      ReportVariables(in, &facts);
      switch (in.kind) {
        case Kind::kArg:
          Declare(in, &facts);
          break;
        case Kind::kEnv:
        case Kind::kLabel:
          CheckPairs(in, &facts);
          break;
        case Kind::kCmd:
          CheckCommand(in, facts, &last[0]);
          break;
        case Kind::kEntrypoint:
          CheckCommand(in, facts, &last[1]);
          break;
        case Kind::kHealthcheck:
          CheckOnce(in, &last[2]);
          break;
        case Kind::kShell:
          facts.has_shell = true;
          break;
        case Kind::kWorkdir:
          CheckWorkdir(in, &facts);
          break;
        case Kind::kExpose:
          CheckPorts(in, facts);
          break;
        case Kind::kAdd:
        case Kind::kCopy:
          CheckSources(in, facts);
          break;
        default:
          break;
      }
    }
  }

  // By name, the last one, or number.
  std::optional<size_t> EarlierStage(const std::string& name, size_t before) const {
    auto found = numbers_.find(Lower(name));
    if (found != numbers_.end()) return found->second;
    auto number = ParseNumber<size_t>(name);
    return number && *number < before ? number : std::nullopt;
  }

  Facts FactsOfBase(size_t number) {
    const Instruction& from = file_.stages[number].from;
    std::string name = Expand(from.words[0], globals_).text;
    if (auto earlier = EarlierStage(name, number)) return Inherit(facts_[*earlier]);
    Facts facts;
    if (name == "scratch") return facts;
    const Flag* flag = from.FindFlag("platform");
    auto base = request_.find_base(name, flag == nullptr ? "" : Expand(flag->value, globals_).text);
    facts.knows_variables = base.has_value();
    // An image whose configuration is not known may have a shell.
    facts.has_shell = !base || base->has_shell;
    if (!base) return facts;
    facts.variables = std::move(base->variables);
    if (base->platform != base->wanted_platform) {
      WarnOfAll(kInvalidBaseImagePlatform, from,
                fmt::format("Base image {} is for \"{}\", this build for \"{}\"", name,
                            base->platform, base->wanted_platform));
    }
    return facts;
  }

  Facts Inherit(const Facts& earlier) {
    inherited_ += earlier.variables.size() + earlier.declared.size();
    if (inherited_ <= kMostInherited) return earlier;
    Facts facts;
    facts.knows_variables = false;
    facts.has_shell = earlier.has_shell;
    facts.has_workdir = earlier.has_workdir;
    return facts;
  }

  void Report(const Instruction& in, const Expanded& word, const Facts& facts) {
    if (!facts.knows_variables || warnings_.size() == kMostWarnings) return;
    for (const std::string& name : word.missing) {
      if (facts.declared.contains(name)) continue;
      WarnOf(kUndefinedVar, in,
             fmt::format("Variable '${}' is used and not defined{}", name,
                         DidYouMean(name, KeysOf(facts.variables), "$")));
    }
  }

  // Of the words whose variables the builder puts in; those of ARG are Declare's.
  void ReportVariables(const Instruction& in, const Facts* facts) {
    auto word = [&](const std::string& text) {
      Report(in, Expand(text, facts->variables), *facts);
    };
    auto flag = [&](std::string_view name) {
      for (const Flag& one : in.flags) {
        if (one.name == name) word(one.value);
      }
    };
    switch (in.kind) {
      case Kind::kEnv:
      case Kind::kLabel:
        for (const Pair& pair : in.pairs) {
          word(pair.name);
          word(pair.value);
        }
        break;
      case Kind::kAdd:
      case Kind::kCopy:
        for (const char* name : {"chown", "chmod", "checksum"}) flag(name);
        for (const std::string& one : in.words) {
          if (one.find("<<") == std::string::npos) word(one);
        }
        for (const Heredoc& doc : in.heredocs) {
          if (doc.expands) Report(in, Expand(doc.content, facts->variables, true), *facts);
        }
        break;
      case Kind::kRun:
        flag("mount");
        break;
      case Kind::kVolume:
        for (const std::string& one : in.words) word(one);
        break;
      case Kind::kUser:
      case Kind::kWorkdir:
      case Kind::kStopSignal:
        word(in.argument);
        break;
      default:
        break;
    }
  }

  void Declare(const Instruction& in, Facts* facts) {
    for (const Pair& pair : in.pairs) {
      if (NamesSecret(pair.name)) WarnOfSecret(in, pair.name);
      auto given = request_.given.find(pair.name);
      auto global = globals_.find(pair.name);
      if (given != request_.given.end() && given->second) {
        facts->variables[pair.name] = *given->second;
      } else if (pair.has_value) {
        Expanded value = Expand(pair.value, facts->variables);
        Report(in, value, *facts);
        facts->variables[pair.name] = value.text;
      } else if (global != globals_.end()) {
        facts->variables[pair.name] = global->second;
      }
      facts->declared.insert(pair.name);
    }
  }

  void WarnOfSecret(const Instruction& in, const std::string& name) {
    WarnOf(kSecretsUsedInArgOrEnv, in,
           fmt::format("ARG and ENV are no places for secrets ({} \"{}\")", in.keyword, name));
  }

  void CheckPairs(const Instruction& in, Facts* facts) {
    std::map<std::string, std::string> values;  // which none of the same line sees
    for (const Pair& pair : in.pairs) {
      if (pair.spaced) {
        WarnOf(
            kLegacyKeyValueFormat, in,
            fmt::format("\"{0} key=value\" instead of the old form \"{0} key value\"", in.written));
      }
      if (in.kind != Kind::kEnv) continue;
      std::string name = Expand(pair.name, facts->variables).text;
      if (NamesSecret(name)) WarnOfSecret(in, name);
      values[name] = Expand(pair.value, facts->variables).text;
    }
    for (auto& [name, value] : values) facts->variables[name] = std::move(value);
  }

  void CheckOnce(const Instruction& in, const Instruction** last) {
    if (*last != nullptr) {
      WarnOf(kMultipleInstructionsDisallowed, **last,
             fmt::format("A stage has one {}: of several only the last one counts", in.written));
    }
    *last = &in;
  }

  void CheckCommand(const Instruction& in, const Facts& facts, const Instruction** last) {
    CheckOnce(in, last);
    if (in.json_form || facts.has_shell) return;
    WarnOf(kJsonArgsRecommended, in,
           fmt::format("{} should have its arguments as JSON: a shell hands no signals on",
                       in.written));
  }

  // Who has said an absolute path once knows what the next ones begin with.
  void CheckWorkdir(const Instruction& in, Facts* facts) {
    std::string path = Expand(in.argument, facts->variables).text;
    if (!facts->has_workdir && !path.starts_with('/')) {
      WarnOf(kWorkdirRelativePath, in,
             fmt::format("What WORKDIR \"{}\" is depends on the base image", path));
    }
    facts->has_workdir = true;
  }

  void CheckPorts(const Instruction& in, const Facts& facts) {
    for (const std::string& written : in.words) {
      std::string port = Expand(written, facts.variables).text;
      size_t colon = port.rfind(':');
      size_t slash = port.find('/', colon == std::string::npos ? 0 : colon);
      if (slash != std::string::npos && !IsLower(std::string_view(port).substr(slash))) {
        WarnOf(kExposeProtoCasing, in,
               fmt::format("The protocol of '{}' should be lower case", port));
      }
      if (colon != std::string::npos && colon > 0) {
        WarnOf(kExposeInvalidFormat, in,
               fmt::format("EXPOSE takes no address and no port of the host, as '{}' has", port));
      }
    }
  }

  void CheckSources(const Instruction& in, const Facts& facts) {
    bool of_context = in.FindFlag("from") == nullptr && request_.ignored != nullptr;
    if (!of_context || request_.ignored->has_exceptions()) return;
    std::vector<std::string> patterns = request_.ignored->Lines();
    auto all_at_root = [](const std::string& pattern) {
      return pattern == "*" || pattern == "**" || pattern == "**/*";
    };
    bool root = std::any_of(patterns.begin(), patterns.end(), all_at_root);
    for (size_t i = 0; i + 1 < in.words.size(); ++i) {
      std::string source = Expand(in.words[i], facts.variables).text;
      if (source.find("<<") != std::string::npos || IsElsewhere(source)) continue;
      std::string clean = CleanRelative(source);
      bool ignored = clean.empty() ? root : request_.ignored->Ignores(clean);
      if (!ignored) continue;
      WarnOf(kCopyIgnoredFile, in,
             fmt::format("{} of \"{}\", which .dockerignore leaves out", in.keyword,
                         clean.empty() ? "." : clean));
    }
  }

  const LintRequest& request_;
  const Dockerfile& file_;
  std::vector<Warning> warnings_;
  std::map<std::string, std::string> globals_;
  std::set<std::string> global_names_;     // also those without a value
  std::map<std::string, size_t> numbers_;  // of the stages so far, by name
  std::vector<Facts> facts_;               // of the stages, by number
  size_t expanded_ = 0;
  size_t inherited_ = 0;  // variables that were copied from stage to stage
};

// "A, B"
std::set<std::string, std::less<>> NamesIn(std::string_view list) {
  std::set<std::string, std::less<>> names;
  for (const std::string& one : SplitWords(list, ",")) names.emplace(Trim(one));
  return names;
}

}  // namespace

std::string Rule::Url() const {
  return page.empty() ? "" : fmt::format("https://docs.docker.com/go/dockerfile/rule/{}/", page);
}

std::string Warning::Short() const {
  return fmt::format("{}: {} (line {})", rule->name, detail, first_line);
}

Result<CheckOptions> ParseCheckOptions(std::string_view text) {
  CheckOptions out;
  for (const std::string& option : SplitWords(text, ";")) {
    size_t equals = option.find('=');
    std::string name(Trim(option.substr(0, equals)));
    bool known = name == "skip" || name == "experimental" || name == "error";
    if (equals == std::string::npos || !known) {
      return InvalidArgument("invalid check option \"{}\"", Trim(option));
    }
    std::string value(Trim(option.substr(equals + 1)));
    if (name == "skip") {
      out.skips_all = value == "all";
      out.skipped = NamesIn(value);
    } else if (name == "experimental") {
      out.tries_all = value == "all";
      out.tried = NamesIn(value);
    } else if (value == "true" || value == "1" || value == "false" || value == "0") {
      out.fails = value == "true" || value == "1";
    } else {
      return InvalidArgument("invalid check option \"{}\": true or false was expected",
                             Trim(option));
    }
  }
  return out;
}

std::vector<Warning> Lint(const LintRequest& request) { return Linter(request).Run(); }

}  // namespace gantry::dockerfile
