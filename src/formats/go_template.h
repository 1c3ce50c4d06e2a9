// SPDX-License-Identifier: Apache-2.0
//
// The part of Go's text/template that docker's users write after --format, evaluated on JSON:
// fields, pipelines, variables, if/else, range (with break and continue), with, define, template
// and block, comments, trim marks, the built-in functions (html, js and urlquery too) and docker's
// json, join, split, lower, upper, title, pad, truncate. Templates are untrusted: nesting, steps
// and output are bounded. Immutable after Parse; any thread.
//
//   template := { text | "{{" ["-"] action ["-"] "}}" }
//   action   := comment | pipeline | ("if" | "range" | "with") pipeline | "else" … | "end"
//             | "define" name | "template" name [ pipeline ] | "block" name pipeline
//             | "break" | "continue"
//   pipeline := [ variable { "," variable } (":=" | "=") ] command { "|" command }
//   command  := operand { operand };  operand := "." | field … | variable | literal | "(" … ")"
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "formats/json.h"

namespace gantry::formats {

class GoTemplate {
 public:
  struct Options {
    // Go's name of the root's type; when set, a missing field of the root reads "can't evaluate
    // field X in type T", as for a struct; otherwise "map has no entry for key".
    std::string root_type;
    // Go's names of members that the root has by other ones, such as "Scope" of "scope". One that
    // the root has not is empty.
    std::map<std::string, std::string, std::less<>> root_names;
    // What an object that lacks a member has for it in Go's type, the object being the value of
    // `parent`; nothing: its type has no such member.
    std::function<std::optional<Json>(const Json& object, std::string_view parent,
                                      std::string_view field)>
        absent;
    // Calls methods of the root that take arguments, such as .Label "x"; nothing: no such method.
    std::function<std::optional<Json>(std::string_view name, const std::vector<Json>& args)> method;
  };

  // A caller's own functions by name, before those of docker.
  using Function = std::function<Result<Json>(const std::vector<Json>& args)>;
  using Functions = std::map<std::string, Function, std::less<>>;

  // Errors read as Go's: "template: :1: unclosed action".
  GoTemplate() = default;  // renders ""
  static Result<GoTemplate> Parse(std::string_view text, Functions functions = {});
  // `template: :1:2: executing "" at <.Foo>: map has no entry for key "Foo"`.
  Result<std::string> Execute(const Json& root, const Options& options) const;
  Result<std::string> Execute(const Json& root) const { return Execute(root, Options()); }

  // The fields of the root that the template names, such as "Size".
  bool UsesField(std::string_view name) const;

  struct Pipeline;
  struct Operand {
    enum class Kind { kDot, kField, kVariable, kLiteral, kFunction, kGroup };
    Kind kind = Kind::kDot;
    std::string name;                 // of a variable or function
    std::vector<std::string> fields;  // behind it
    Json literal;
    std::shared_ptr<Pipeline> group;
    size_t position = 0;
    std::string text;  // as written, for messages
  };
  using Command = std::vector<Operand>;
  struct Pipeline {
    std::vector<std::string> variables;
    bool declares = false;
    std::vector<Command> commands;
  };
  struct Node {
    enum class Kind { kText, kOutput, kIf, kRange, kWith, kTemplate, kBreak, kContinue };
    Kind kind = Kind::kText;
    std::string text;     // or the name of a template
    size_t position = 0;  // of a template's action
    Pipeline pipeline;
    std::vector<Node> body;
    std::vector<Node> otherwise;
  };
  // By the name that "define" or "block" gives.
  using Templates = std::map<std::string, std::vector<Node>, std::less<>>;

 private:
  std::string source_;
  Functions functions_;
  std::vector<Node> nodes_;
  Templates templates_;
};

// How Go's fmt prints the value with %v: "map[a:1 b:2]", "[x y]", "<nil>".
std::string FormatGoValue(const Json& value);
// Go's strconv.Quote.
std::string QuoteGo(std::string_view text);

}  // namespace gantry::formats
