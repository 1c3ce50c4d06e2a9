// SPDX-License-Identifier: Apache-2.0
#include "dockerfile/outline.h"

#include <algorithm>
#include <set>
#include <utility>

#include "dockerfile/expand.h"
#include "dockerfile/run_mount.h"

namespace gantry::dockerfile {
namespace {

using Given = std::map<std::string, std::optional<std::string>>;

class OutlineMaker {
 public:
  OutlineMaker(const Dockerfile& file, const Given& given) : file_(file), given_(given) {}

  Outline Make(size_t target) {
    DeclareGlobals();
    const Instruction& from = file_.stages[target].from;
    out_.name = from.argument;
    out_.description = DescriptionOf(from, from.argument);
    AddStage(target);
    auto sort = [](auto* list) {
      std::stable_sort(list->begin(), list->end(),
                       [](auto& a, auto& b) { return a.first_line < b.first_line; });
    };
    sort(&out_.arguments);
    sort(&out_.secrets);
    sort(&out_.agents);
    return std::move(out_);
  }

 private:
  struct Global {
    OutlineArgument argument;
    std::set<std::string> needs;  // the globals that its default is made of
  };

  using Values = std::map<std::string, std::string>;

  std::string Expand(const std::string& word, const Lookup& lookup) const {
    return Expander{lookup, file_.escape}.Word(word).value_or("");
  }
  // Of what stands before the stages and in FROM; with the names that were looked up.
  std::string ExpandGlobal(const std::string& word, std::set<std::string>* asked) const {
    return Expand(word, [&](const std::string& name) -> std::optional<std::string> {
      asked->insert(name);
      auto found = globals_.find(name);
      if (found == globals_.end()) return std::nullopt;
      return found->second.argument.value;
    });
  }
  std::string ExpandInStage(const std::string& word, const Values& values) const {
    return Expand(word, [&](const std::string& name) -> std::optional<std::string> {
      auto found = values.find(name);
      if (found == values.end()) return std::nullopt;
      return found->second;
    });
  }

  OutlineArgument ArgumentOf(const Instruction& in, const Pair& pair, std::string fallback) const {
    auto given = given_.find(pair.name);
    bool is_given = given != given_.end() && given->second.has_value();
    return {pair.name, is_given ? *given->second : std::move(fallback),
            DescriptionOf(in, pair.name), in.line, in.last_line};
  }

  void DeclareGlobals() {
    for (const Instruction& in : file_.arguments) {
      for (const Pair& pair : in.pairs) {
        Global global;
        std::string value = pair.has_value ? ExpandGlobal(pair.value, &global.needs) : "";
        global.argument = ArgumentOf(in, pair, std::move(value));
        globals_[pair.name] = std::move(global);
      }
    }
  }

  void UseGlobal(const std::string& name) {
    auto found = globals_.find(name);
    if (found == globals_.end() || !told_.insert(name).second) return;
    out_.arguments.push_back(found->second.argument);
    for (const std::string& needed : found->second.needs) UseGlobal(needed);
  }

  void AddStage(size_t number) {
    if (!seen_.insert(number).second) return;
    const Stage& stage = file_.stages[number];
    // Those of the stage itself are told rather than globals of the same name.
    Values values;
    for (const Instruction& in : stage.instructions) AddInstruction(in, number, &values);
    std::set<std::string> asked;
    std::string base = ExpandGlobal(stage.from.words[0], &asked);
    if (const Flag* flag = stage.from.FindFlag("platform")) {
      (void)ExpandGlobal(flag->value, &asked);
    }
    for (const std::string& name : asked) UseGlobal(name);
    AddStageOf(base, number);
  }

  void AddStageOf(const std::string& name, size_t before) {
    int found = file_.FindStage(name, before);
    if (found >= 0) AddStage(static_cast<size_t>(found));
  }

  void AddInstruction(const Instruction& in, size_t stage, Values* values) {
    for (const Pair& pair : in.pairs) {
      if (in.kind == Kind::kArg) AddArgument(in, pair, values);
      if (in.kind == Kind::kEnv) (*values)[pair.name] = ExpandInStage(pair.value, *values);
    }
    for (const Flag& flag : in.flags) {
      if (flag.name == "from") AddStageOf(flag.value, stage);
      if (in.kind == Kind::kRun && flag.name == "mount") {
        AddMount(in, flag.value);
        AddStageOf(FromOfRunMount(flag.value), stage);
      }
    }
  }

  void AddArgument(const Instruction& in, const Pair& pair, Values* values) {
    auto global = globals_.find(pair.name);
    if (!pair.has_value && global != globals_.end()) {
      (*values)[pair.name] = global->second.argument.value;
      return UseGlobal(pair.name);
    }
    OutlineArgument argument =
        ArgumentOf(in, pair, pair.has_value ? ExpandInStage(pair.value, *values) : "");
    (*values)[pair.name] = argument.value;
    if (told_.insert(pair.name).second) out_.arguments.push_back(std::move(argument));
  }

  void AddMount(const Instruction& in, const std::string& text) {
    Expander expander;
    expander.escape = file_.escape;
    expander.lookup = [](const std::string&) { return std::optional<std::string>(""); };
    auto mount = ParseRunMount(text, expander);
    if (!mount.ok()) return;  // the build's error
    bool secret = mount->type == RunMount::Type::kSecret;
    if (!secret && mount->type != RunMount::Type::kSsh) return;
    auto& list = secret ? out_.secrets : out_.agents;
    bool told = std::any_of(list.begin(), list.end(),
                            [&](const OutlineInput& one) { return one.name == mount->id; });
    if (!told) list.push_back({mount->id, mount->required, in.line, in.last_line});
  }

  const Dockerfile& file_;
  const Given& given_;
  std::map<std::string, Global> globals_;
  std::set<std::string> told_;  // names of arguments
  std::set<size_t> seen_;       // stages
  Outline out_;
};

}  // namespace

std::string DescriptionOf(const Instruction& in, std::string_view name) {
  if (name.empty()) return "";
  for (const std::string& comment : in.comments) {
    std::string_view text = comment;
    if (!text.starts_with(name) || text.size() <= name.size() || text[name.size()] != ' ') continue;
    return std::string(text.substr(name.size() + 1));
  }
  return "";
}

Outline MakeOutline(const Dockerfile& file, size_t target, const Given& given) {
  return OutlineMaker(file, given).Make(target);
}

}  // namespace gantry::dockerfile
