// SPDX-License-Identifier: Apache-2.0
//
// The evaluating half of go_template.h.
#include <algorithm>

#include "formats/go_template.h"
#include "formats/go_template_functions.h"

namespace gantry::formats {
namespace {

using Command = GoTemplate::Command;
using Node = GoTemplate::Node;
using Operand = GoTemplate::Operand;
using Pipeline = GoTemplate::Pipeline;

// Members of docker's documents that are maps in Go: a key that is not there is no error, and
// prints as "<no value>".
bool IsMap(std::string_view name) {
  for (std::string_view known : {"Annotations", "Attributes", "Containers", "DriverOpts",
                                 "ExposedPorts", "Labels", "Networks", "Options", "PortBindings",
                                 "Ports", "StorageOpt", "Sysctls", "Tmpfs", "Volumes"}) {
    if (name == known) return true;
  }
  return false;
}

constexpr size_t kMaxSteps = 5'000'000;
constexpr int kMaxTemplateDepth = 200;
constexpr size_t kMaxOutputBytes = size_t{64} << 20;

class Evaluator {
 public:
  Evaluator(std::string_view source, const GoTemplate::Functions& functions,
            const GoTemplate::Templates& templates, const Json& root,
            const GoTemplate::Options& options)
      : source_(source),
        functions_(functions),
        templates_(templates),
        root_(root),
        options_(options) {
    variables_.push_back({"", root});  // "$" is the root
  }

  Result<> Run(const std::vector<Node>& nodes, const Json& dot) {
    for (const Node& node : nodes) {
      if (++steps_ > kMaxSteps || out_.size() > kMaxOutputBytes) {
        return MakeError(ErrorKind::kResourceExhausted, "template: output too large");
      }
      TRY(RunNode(node, dot));
      if (leaving_ != Leaving::kNothing) break;
    }
    return {};
  }
  std::string Take() { return std::move(out_); }

 private:
  // What "break" and "continue" leave, up to the range.
  enum class Leaving : uint8_t { kNothing, kRound, kRange };
  struct Variable {
    std::string name;
    Json value;
  };

  Result<> RunNode(const Node& node, const Json& dot) {
    if (node.kind == Node::Kind::kText) {
      out_.append(node.text);
      return {};
    }
    if (node.kind == Node::Kind::kBreak || node.kind == Node::Kind::kContinue) {
      leaving_ = node.kind == Node::Kind::kBreak ? Leaving::kRange : Leaving::kRound;
      return {};
    }
    if (node.kind == Node::Kind::kTemplate) return RunTemplate(node, dot);
    size_t scope = variables_.size();
    if (node.kind == Node::Kind::kOutput) {
      missing_key_ = false;
      Json value = TRY(Evaluate(node.pipeline, dot));
      if (node.pipeline.variables.empty()) {
        out_.append(value.is_null() && missing_key_ ? "<no value>" : FormatGoValue(value));
      } else {
        TRY(Assign(node.pipeline, std::move(value)));
      }
      return {};  // a variable lives to the end of its block
    }
    Json value = TRY(Evaluate(node.pipeline, dot));
    if (node.kind == Node::Kind::kRange) {
      TRY(RunRange(node, value, dot));
    } else {
      if (!node.pipeline.variables.empty()) TRY(Assign(node.pipeline, value));
      bool with = node.kind == Node::Kind::kWith;
      TRY(IsGoTrue(value) ? Run(node.body, with ? value : dot) : Run(node.otherwise, dot));
    }
    variables_.resize(scope);
    return {};
  }

  // Sees nothing of its caller but what it is given, which is its "$" too.
  Result<> RunTemplate(const Node& node, const Json& dot) {
    auto found = templates_.find(node.text);
    Operand place;
    place.position = node.position + 2;
    place.text = fmt::format("{{{{template {}}}}}", QuoteGo(node.text));
    if (found == templates_.end()) {
      return Failure(place, fmt::format("template {} not defined", QuoteGo(node.text)));
    }
    if (depth_ >= kMaxTemplateDepth) {
      return Failure(place, fmt::format("exceeded maximum template depth ({})", kMaxTemplateDepth));
    }
    Json given;
    if (!node.pipeline.commands.empty()) given = TRY(Evaluate(node.pipeline, dot));
    std::vector<Variable> outer = std::exchange(variables_, {});
    variables_.push_back({"", given});
    ++depth_;
    TRY(Run(found->second, given));
    --depth_;
    variables_ = std::move(outer);
    return {};
  }

  Result<> RunRange(const Node& node, const Json& value, const Json& dot) {
    size_t scope = variables_.size();
    auto once = [&](Json key, const Json& item) -> Result<> {
      const auto& names = node.pipeline.variables;
      if (names.size() == 2) variables_.push_back({names[0], std::move(key)});
      if (!names.empty()) variables_.push_back({names.back(), item});
      TRY(Run(node.body, item));
      variables_.resize(scope);
      if (leaving_ == Leaving::kRound) leaving_ = Leaving::kNothing;
      return {};
    };
    auto left = [&] { return std::exchange(leaving_, Leaving::kNothing) == Leaving::kRange; };
    if (value.is_array() && value.size() > 0) {
      for (size_t i = 0; i < value.size(); ++i) {
        TRY(once(Json(static_cast<int64_t>(i)), value.at(i)));
        if (left()) break;
      }
      return {};
    }
    if (value.is_object() && value.size() > 0) {
      // Go ranges over maps in the order of their keys.
      std::vector<const Json::Member*> members;
      for (const Json::Member& member : value.members()) members.push_back(&member);
      std::sort(members.begin(), members.end(),
                [](const auto* a, const auto* b) { return a->first < b->first; });
      for (const Json::Member* member : members) {
        TRY(once(Json(member->first), member->second));
        if (left()) break;
      }
      return {};
    }
    if (!value.is_array() && !value.is_object() && !value.is_null()) {
      return Failure(node.pipeline.commands.back().front(),
                     "range can't iterate over " + FormatGoValue(value));
    }
    return Run(node.otherwise, dot);
  }

  Result<> Assign(const Pipeline& pipeline, Json value) {
    const std::string& name = pipeline.variables[0];
    if (pipeline.declares) {
      variables_.push_back({name, std::move(value)});
      return {};
    }
    for (auto at = variables_.rbegin(); at != variables_.rend(); ++at) {
      if (at->name != name) continue;
      at->value = std::move(value);
      return {};
    }
    return InvalidArgument("template: undefined variable \"${}\"", name);
  }

  Result<Json> Evaluate(const Pipeline& pipeline, const Json& dot) {
    Json value;
    bool first = true;
    for (const Command& command : pipeline.commands) {
      if (++steps_ > kMaxSteps) {
        return MakeError(ErrorKind::kResourceExhausted, "template: too many steps");
      }
      value = TRY(EvaluateCommand(command, dot, first ? nullptr : &value));
      first = false;
    }
    return value;
  }

  // `piped` is the last argument, from the command before the '|'.
  Result<Json> EvaluateCommand(const Command& command, const Json& dot, const Json* piped) {
    const Operand& head = command[0];
    std::vector<Json> args;
    for (size_t i = 1; i < command.size(); ++i)
      args.push_back(TRY(EvaluateOperand(command[i], dot)));
    if (piped != nullptr) args.push_back(*piped);
    if (head.kind == Operand::Kind::kFunction) {
      return Fields(head, TRY(CallFunction(head, args, &command)), dot);
    }
    if (args.empty()) return EvaluateOperand(head, dot);
    if (head.kind == Operand::Kind::kField && head.fields.size() == 1 && options_.method) {
      if (std::optional<Json> value = options_.method(head.fields[0], args)) return *value;
    }
    return Failure(head, fmt::format("can't give argument to non-function {}", head.text));
  }

  // `command`: what it stands in front of, with its arguments.
  Result<Json> CallFunction(const Operand& function, const std::vector<Json>& args,
                            const Command* command = nullptr) {
    auto own = functions_.find(function.name);
    Result<Json> value =
        own == functions_.end() ? CallGoTemplateFunction(function.name, args) : own->second(args);
    if (value.ok()) return value;
    Operand place = function;
    // Go names the whole call when it is the call that fails.
    if (command != nullptr && value.error().message().starts_with("error calling")) {
      for (size_t i = 1; i < command->size(); ++i) place.text += " " + (*command)[i].text;
    }
    return Failure(place, value.error().message());
  }

  Result<Json> EvaluateOperand(const Operand& operand, const Json& dot) {
    switch (operand.kind) {
      case Operand::Kind::kDot:
        return dot;
      case Operand::Kind::kField:
        return Fields(operand, dot, dot);
      case Operand::Kind::kLiteral:
        return operand.literal;
      case Operand::Kind::kGroup:
        return Fields(operand, TRY(Evaluate(*operand.group, dot)), dot);
      case Operand::Kind::kFunction:
        return Fields(operand, TRY(CallFunction(operand, {})), dot);
      case Operand::Kind::kVariable:
        for (auto at = variables_.rbegin(); at != variables_.rend(); ++at) {
          if (at->name == operand.name) return Fields(operand, at->value, dot);
        }
        return Failure(operand, fmt::format("undefined variable \"${}\"", operand.name));
    }
    return Json();
  }

  // Follows the chain of fields, without copying what lies between.
  Result<Json> Fields(const Operand& operand, const Json& start, const Json& dot) {
    const Json* at = &start;
    bool is_root = &start == &dot && &dot == &root_;
    std::string_view before;
    for (size_t i = 0; i < operand.fields.size(); ++i) {
      const std::string& field = operand.fields[i];
      bool is_last = i + 1 == operand.fields.size();
      auto named = is_root ? options_.root_names.find(field) : options_.root_names.end();
      bool renamed = named != options_.root_names.end();
      const Json* next = at->Find(renamed ? named->second : field);
      if (next == nullptr && renamed) return Json("");
      bool is_map = IsMap(before) && (at->is_object() || at->is_null());
      if (next == nullptr && is_map) {
        missing_key_ = true;
        return Json();
      }
      if (next == nullptr && is_last && at->is_object() && options_.absent) {
        if (std::optional<Json> value = options_.absent(*at, before, field)) return *value;
      }
      if (next == nullptr) {
        if (is_root && !options_.root_type.empty()) {
          return Failure(operand, fmt::format("can't evaluate field {} in type {}", field,
                                              options_.root_type));
        }
        if (at->is_null()) {
          return Failure(operand, fmt::format("nil pointer evaluating interface {{}}.{}", field));
        }
        if (!at->is_object()) {
          return Failure(operand, fmt::format("can't evaluate field {} in type {}", field,
                                              at->is_string() ? "string" : "interface {}"));
        }
        return Failure(operand, fmt::format("map has no entry for key \"{}\"", field));
      }
      at = next;
      before = field;
      is_root = false;
    }
    return *at;
  }

  Error Failure(const Operand& operand, std::string_view what) const {
    std::string_view before = source_.substr(0, operand.position);
    size_t newline = before.rfind('\n');
    size_t column = newline == std::string_view::npos ? before.size() : before.size() - newline - 1;
    auto line = 1 + std::count(before.begin(), before.end(), '\n');
    return InvalidArgument("template: :{}:{}: executing \"\" at <{}>: {}", line, column,
                           operand.text, what);
  }

  std::string_view source_;
  const GoTemplate::Functions& functions_;
  const GoTemplate::Templates& templates_;
  const Json& root_;
  const GoTemplate::Options& options_;
  std::vector<Variable> variables_;
  std::string out_;
  size_t steps_ = 0;
  int depth_ = 0;  // of templates within templates
  Leaving leaving_ = Leaving::kNothing;
  bool missing_key_ = false;  // the output under way has met one
};

}  // namespace

Result<std::string> GoTemplate::Execute(const Json& root, const Options& options) const {
  Evaluator evaluator(source_, functions_, templates_, root, options);
  TRY(evaluator.Run(nodes_, root));
  return evaluator.Take();
}

}  // namespace gantry::formats
