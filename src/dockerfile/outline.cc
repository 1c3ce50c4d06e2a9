// SPDX-License-Identifier: Apache-2.0
#include "dockerfile/outline.h"

#include <algorithm>
#include <set>
#include <utility>

#include "dockerfile/run_mount.h"

namespace gantry::dockerfile {
namespace {

using Given = std::map<std::string, std::optional<std::string>>;

// What values that are made of each other may cost, bytes.
constexpr size_t kMostOutlined = size_t{64} << 20;

class OutlineMaker {
 public:
  OutlineMaker(const Dockerfile& file, const Given& given) : file_(file), given_(given) {}

  Outline Make(size_t target) {
    DeclareGlobals();
    const Instruction& from = file_.stages[target].from;
    out_.name = from.argument;
    out_.description = DescriptionOf(from, from.argument);
    std::vector<bool> needed = file_.NeededStages(
        target, [this](const std::string& name) { return GlobalValue(name); },
        [](const std::string&) { return false; });
    for (size_t i = target + 1; i-- > 0;) {
      if (needed[i]) AddStage(file_.stages[i]);
    }
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

  std::string Expand(const std::string& word, const Lookup& lookup) {
    std::string text = Expander{lookup, file_.escape}.Word(word).value_or("");
    return (expanded_ += text.size()) <= kMostOutlined ? text : "";
  }
  std::optional<std::string> GlobalValue(const std::string& name) const {
    auto found = globals_.find(name);
    if (found == globals_.end()) return std::nullopt;
    return found->second.argument.value;
  }
  // Of what stands before the stages and in FROM; with the names that were looked up.
  std::string ExpandGlobal(const std::string& word, std::set<std::string>* asked) {
    return Expand(word, [&](const std::string& name) -> std::optional<std::string> {
      asked->insert(name);
      return GlobalValue(name);
    });
  }
  std::string ExpandInStage(const std::string& word, const Values& values) {
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

  // With all that its default is made of.
  void UseGlobal(const std::string& wanted) {
    std::vector<std::string> names = {wanted};
    while (!names.empty()) {
      std::string name = std::move(names.back());
      names.pop_back();
      auto found = globals_.find(name);
      if (found == globals_.end() || !told_.insert(name).second) continue;
      out_.arguments.push_back(found->second.argument);
      names.insert(names.end(), found->second.needs.begin(), found->second.needs.end());
    }
  }

  void AddStage(const Stage& stage) {
    // Those of the stage itself are told rather than globals of the same name.
    Values values;
    for (const Instruction& in : stage.instructions) AddInstruction(in, &values);
    std::set<std::string> asked;
    (void)ExpandGlobal(stage.from.words[0], &asked);
    if (const Flag* flag = stage.from.FindFlag("platform")) {
      (void)ExpandGlobal(flag->value, &asked);
    }
    for (const std::string& name : asked) UseGlobal(name);
  }

  void AddInstruction(const Instruction& in, Values* values) {
    for (const Pair& pair : in.pairs) {
      if (in.kind == Kind::kArg) AddArgument(in, pair, values);
      if (in.kind == Kind::kEnv) (*values)[pair.name] = ExpandInStage(pair.value, *values);
    }
    for (const Flag& flag : in.flags) {
      if (in.kind == Kind::kRun && flag.name == "mount") AddMount(in, flag.value);
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
  size_t expanded_ = 0;
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
