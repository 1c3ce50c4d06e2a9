// SPDX-License-Identifier: Apache-2.0
//
// The parsing half of go_template.h.
#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstdlib>

#include "formats/go_template.h"
#include "formats/go_template_functions.h"

namespace gantry::formats {
namespace {

using Command = GoTemplate::Command;
using Node = GoTemplate::Node;
using Operand = GoTemplate::Operand;
using Pipeline = GoTemplate::Pipeline;

constexpr int kMaxDepth = 64;
constexpr size_t kMaxTemplateBytes = 1 << 20;

bool IsBlank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }
bool IsWordChar(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' ||
         static_cast<unsigned char>(c) >= 0x80;
}

class Parser {
 public:
  Parser(std::string_view text, const GoTemplate::Functions& own) : text_(text), own_(own) {}

  Result<std::vector<Node>> ParseAll() {
    if (text_.size() > kMaxTemplateBytes) return Failure("template is too long");
    std::vector<Node> nodes;
    std::string end = TRY(ParseList(&nodes, 0));
    if (!end.empty()) return Failure("unexpected {{" + end + "}}");
    return nodes;
  }
  GoTemplate::Templates TakeTemplates() { return std::move(templates_); }

 private:
  Error Failure(std::string_view what) const {
    size_t line =
        1 + static_cast<size_t>(std::count(
                text_.begin(), text_.begin() + static_cast<ptrdiff_t>(std::min(at_, text_.size())),
                '\n'));
    return InvalidArgument("template: :{}: {}", line, what);
  }

  // Text and actions up to "end", "else" or the end of the text; returns which.
  Result<std::string> ParseList(std::vector<Node>* nodes, int depth) {
    if (depth > kMaxDepth) return Failure("nested too deeply");
    for (;;) {
      size_t open = text_.find("{{", at_);
      std::string_view text = text_.substr(at_, open == std::string_view::npos ? open : open - at_);
      if (trim_next_) {
        while (!text.empty() && IsBlank(text.front())) text.remove_prefix(1);
      }
      trim_next_ = false;
      bool trim_before = open != std::string_view::npos && open + 3 < text_.size() &&
                         text_[open + 2] == '-' && IsBlank(text_[open + 3]);
      if (trim_before) {
        while (!text.empty() && IsBlank(text.back())) text.remove_suffix(1);
      }
      if (!text.empty()) {
        Node node;
        node.text = text;
        nodes->push_back(std::move(node));
      }
      if (open == std::string_view::npos) {
        at_ = text_.size();
        return std::string();
      }
      at_ = open + (trim_before ? 3 : 2);
      SkipBlanks();
      if (text_.substr(at_, 2) == "/*") {
        TRY(SkipComment());
        continue;
      }
      std::string keyword = PeekWord();
      if (keyword == "end" || keyword == "else") {
        at_ += keyword.size();
        if (keyword == "end") TRY(CloseAction());
        return keyword;
      }
      Node node;
      if (keyword == "if" || keyword == "range" || keyword == "with") {
        at_ += keyword.size();
        TRY(ParseBlock(keyword, &node, depth));
      } else if (keyword == "define") {
        if (depth > 0) return Failure("unexpected {{define}}");
        at_ += keyword.size();
        TRY(ParseDefinition(TRY(ParseName(keyword)), depth));
        continue;
      } else if (keyword == "template" || keyword == "block") {
        TRY(ParseTemplate(keyword, open, &node, depth));
      } else if (keyword == "break" || keyword == "continue") {
        if (ranges_ == 0) return Failure("{{" + keyword + "}} outside {{range}}");
        at_ += keyword.size();
        node.kind = keyword == "break" ? Node::Kind::kBreak : Node::Kind::kContinue;
        TRY(CloseAction());
      } else {
        node.kind = Node::Kind::kOutput;
        node.pipeline = TRY(ParsePipeline("command", depth));
        TRY(CloseAction());
      }
      nodes->push_back(std::move(node));
    }
  }

  Result<> ParseBlock(const std::string& keyword, Node* node, int depth) {
    node->kind = keyword == "if"      ? Node::Kind::kIf
                 : keyword == "range" ? Node::Kind::kRange
                                      : Node::Kind::kWith;
    node->pipeline = TRY(ParsePipeline(keyword, depth + 1));
    TRY(CloseAction());
    ranges_ += keyword == "range" ? 1 : 0;
    std::string end = TRY(ParseList(&node->body, depth + 1));
    ranges_ -= keyword == "range" ? 1 : 0;
    if (end == "else") {
      SkipBlanks();
      if (std::string word = PeekWord(); word == "if" || word == "with") {
        // "else if" is an if within the else, and shares the end.
        at_ += word.size();
        Node inner;
        TRY(ParseBlock(word, &inner, depth + 1));
        node->otherwise.push_back(std::move(inner));
        return {};
      }
      TRY(CloseAction());
      end = TRY(ParseList(&node->otherwise, depth + 1));
      if (end == "else") return Failure("unexpected {{else}}");
    }
    if (end != "end") return Failure("unexpected EOF");
    return {};
  }

  // The name of a template, in quotes.
  Result<std::string> ParseName(const std::string& keyword) {
    SkipBlanks();
    bool quoted = at_ < text_.size() && (text_[at_] == '"' || text_[at_] == '`');
    if (!quoted) return Failure(fmt::format("unexpected token in {} clause", keyword));
    return TRY(ParseQuoted()).AsString();
  }

  // Up to its "end". Of two with one name the later one holds, unless it is empty.
  Result<> ParseDefinition(const std::string& name, int depth) {
    TRY(CloseAction());
    std::vector<Node> body;
    int outer_ranges = std::exchange(ranges_, 0);
    std::string end = TRY(ParseList(&body, depth + 1));
    ranges_ = outer_ranges;
    if (end == "else") return Failure("unexpected {{else}}");
    if (end != "end") return Failure("unexpected EOF");
    if (!body.empty() || !templates_.contains(name)) templates_[name] = std::move(body);
    return {};
  }

  // "block" is a definition and its use.
  Result<> ParseTemplate(const std::string& keyword, size_t open, Node* node, int depth) {
    at_ += keyword.size();
    node->kind = Node::Kind::kTemplate;
    node->position = open;
    node->text = TRY(ParseName(keyword));
    SkipBlanks();
    bool bare = AtClose() && keyword == "template";
    if (!bare) node->pipeline = TRY(ParsePipeline(keyword + " clause", depth + 1));
    if (keyword == "block") return ParseDefinition(node->text, depth + 1);
    return CloseAction();
  }

  Result<> SkipComment() {
    size_t end = text_.find("*/", at_);
    if (end == std::string_view::npos) return Failure("unclosed comment");
    at_ = end + 2;
    bool trims = at_ + 1 < text_.size() && IsBlank(text_[at_]);
    SkipBlanks();
    if (trims && text_.substr(at_, 3) == "-}}") {
      trim_next_ = true;
      ++at_;
    }
    if (text_.substr(at_, 2) != "}}") return Failure("comment ends before closing delimiter");
    at_ += 2;
    return {};
  }

  void SkipBlanks() {
    while (at_ < text_.size() && IsBlank(text_[at_])) ++at_;
  }

  std::string PeekWord() const {
    size_t end = at_;
    while (end < text_.size() && IsWordChar(text_[end])) ++end;
    return std::string(text_.substr(at_, end - at_));
  }

  bool AtClose() const {
    std::string_view rest = text_.substr(at_);
    return rest.substr(0, 2) == "}}" ||
           (rest.substr(0, 3) == "-}}" && at_ > 0 && IsBlank(text_[at_ - 1]));
  }

  Result<> CloseAction() {
    SkipBlanks();
    if (at_ >= text_.size()) return Failure("unclosed action");
    if (!AtClose()) return Failure(fmt::format("unexpected \"{}\" in operand", text_[at_]));
    if (text_[at_] == '-') {
      trim_next_ = true;
      ++at_;
    }
    at_ += 2;
    return {};
  }

  // `clause`: whose pipeline it is, for messages.
  Result<Pipeline> ParsePipeline(std::string_view clause, int depth) {
    if (depth > kMaxDepth) return Failure("nested too deeply");
    Pipeline pipeline;
    TRY(ParseVariables(&pipeline));
    for (;;) {
      Command command;
      for (;;) {
        SkipBlanks();
        if (at_ >= text_.size()) return Failure("unclosed action");
        if (AtClose() || text_[at_] == '|' || text_[at_] == ')') break;
        command.push_back(TRY(ParseOperand(depth)));
      }
      if (command.empty()) {
        return Failure(
            fmt::format("missing value for {}", pipeline.commands.empty() ? clause : "command"));
      }
      pipeline.commands.push_back(std::move(command));
      if (AtClose() || text_[at_] != '|') return pipeline;
      ++at_;
    }
  }

  // "$a := ", "$i, $v := ", "$a = ".
  Result<> ParseVariables(Pipeline* pipeline) {
    SkipBlanks();
    size_t start = at_;
    std::vector<std::string> names;
    while (at_ < text_.size() && text_[at_] == '$') {
      ++at_;
      std::string name = PeekWord();
      at_ += name.size();
      names.push_back(std::move(name));
      SkipBlanks();
      if (text_.substr(at_, 1) == ",") {
        ++at_;
        SkipBlanks();
        continue;
      }
      bool declares = text_.substr(at_, 2) == ":=";
      if (declares || (text_.substr(at_, 1) == "=" && names.size() == 1)) {
        at_ += declares ? 2 : 1;
        if (names.size() > 2) return Failure("too many declarations");
        pipeline->variables = std::move(names);
        pipeline->declares = declares;
        return {};
      }
      break;
    }
    at_ = start;
    return {};
  }

  Result<Operand> ParseOperand(int depth) {
    Operand operand;
    operand.position = at_;
    size_t start = at_;
    char c = text_[at_];
    if (c == '(') {
      ++at_;
      operand.kind = Operand::Kind::kGroup;
      operand.group =
          std::make_shared<Pipeline>(TRY(ParsePipeline("parenthesized pipeline", depth + 1)));
      if (text_.substr(at_, 1) != ")") return Failure("unclosed left paren");
      ++at_;
    } else if (c == '"' || c == '`' || c == '\'') {
      operand.kind = Operand::Kind::kLiteral;
      operand.literal = TRY(ParseQuoted());
    } else if (std::isdigit(static_cast<unsigned char>(c)) != 0 ||
               ((c == '-' || c == '+') && at_ + 1 < text_.size() &&
                std::isdigit(static_cast<unsigned char>(text_[at_ + 1])) != 0)) {
      operand.kind = Operand::Kind::kLiteral;
      operand.literal = TRY(ParseNumber());
    } else if (c == '$') {
      ++at_;
      operand.kind = Operand::Kind::kVariable;
      operand.name = PeekWord();
      at_ += operand.name.size();
    } else if (c == '.') {
      bool field = at_ + 1 < text_.size() && IsWordChar(text_[at_ + 1]);
      operand.kind = field ? Operand::Kind::kField : Operand::Kind::kDot;
      if (!field) ++at_;
    } else if (std::string word = PeekWord(); !word.empty()) {
      at_ += word.size();
      if (word == "true" || word == "false" || word == "nil") {
        operand.kind = Operand::Kind::kLiteral;
        if (word != "nil") operand.literal = word == "true";
      } else if (own_.contains(word) || IsGoTemplateFunction(word)) {
        operand.kind = Operand::Kind::kFunction;
        operand.name = word;
      } else {
        return Failure(fmt::format("function \"{}\" not defined", word));
      }
    } else {
      return Failure(fmt::format("unexpected \"{}\" in command", c));
    }
    while (at_ + 1 < text_.size() && text_[at_] == '.' && IsWordChar(text_[at_ + 1])) {
      // Go names the second field's place for a chain.
      if (operand.fields.size() == 1) operand.position = at_;
      ++at_;
      operand.fields.push_back(PeekWord());
      at_ += operand.fields.back().size();
    }
    operand.text = text_.substr(start, at_ - start);
    if (at_ < text_.size() && !IsBlank(text_[at_]) && text_[at_] != '|' && text_[at_] != ')' &&
        !AtClose()) {
      return Failure(fmt::format("unexpected \"{}\" in operand", text_[at_]));
    }
    return operand;
  }

  Result<Json> ParseNumber() {
    size_t end = at_ + 1;
    while (end < text_.size() && (IsWordChar(text_[end]) || text_[end] == '.')) ++end;
    std::string_view word = text_.substr(at_, end - at_);
    at_ = end;
    std::string_view digits = word[0] == '+' ? word.substr(1) : word;
    int64_t whole = 0;
    const char* stop = digits.data() + digits.size();
    if (auto [p, e] = std::from_chars(digits.data(), stop, whole); e == std::errc() && p == stop) {
      return Json(whole);
    }
    // strtod(3), since std::from_chars would need libm at the CLI's start.
    std::string copy(digits);
    char* end_of_real = nullptr;
    double real = std::strtod(copy.c_str(), &end_of_real);
    if (*end_of_real == '\0') return Json(real);
    return Failure(fmt::format("bad number syntax: \"{}\"", word));
  }

  // "…" and '…' with Go's escapes, `…` without.
  Result<Json> ParseQuoted() {
    char quote = text_[at_++];
    std::string out;
    while (at_ < text_.size() && text_[at_] != quote) {
      char c = text_[at_++];
      if (c == '\n' && quote != '`') break;
      if (c != '\\' || quote == '`') {
        out.push_back(c);
        continue;
      }
      if (at_ >= text_.size()) break;
      char escape = text_[at_++];
      static constexpr std::string_view kNames = "abfnrtv\\\"'";
      static constexpr std::string_view kValues = "\a\b\f\n\r\t\v\\\"'";
      size_t known = kNames.find(escape);
      if (known != std::string_view::npos) {
        out.push_back(kValues[known]);
      } else if (escape == 'x' && at_ + 2 <= text_.size()) {
        unsigned value = 0;
        auto [p, e] = std::from_chars(text_.data() + at_, text_.data() + at_ + 2, value, 16);
        if (e != std::errc() || p != text_.data() + at_ + 2) return Failure("invalid syntax");
        out.push_back(static_cast<char>(value));
        at_ += 2;
      } else {
        return Failure("invalid syntax");
      }
    }
    if (at_ >= text_.size() || text_[at_] != quote) {
      return Failure(quote == '`' ? "unterminated raw quoted string"
                                  : "unterminated quoted string");
    }
    ++at_;
    if (quote == '\'') {
      if (out.size() != 1) return Failure("malformed character constant");
      return Json(int64_t{static_cast<unsigned char>(out[0])});
    }
    return Json(std::move(out));
  }

  std::string_view text_;
  const GoTemplate::Functions& own_;
  size_t at_ = 0;
  bool trim_next_ = false;
  int ranges_ = 0;  // around this place
  GoTemplate::Templates templates_;
};

bool Names(const Pipeline& pipeline, std::string_view field) {
  for (const Command& command : pipeline.commands) {
    for (const Operand& operand : command) {
      bool named = operand.kind == Operand::Kind::kField && operand.fields[0] == field;
      if (named || (operand.group && Names(*operand.group, field))) return true;
    }
  }
  return false;
}

bool Names(const std::vector<Node>& nodes, std::string_view field) {
  return std::any_of(nodes.begin(), nodes.end(), [&](const Node& node) {
    return Names(node.pipeline, field) || Names(node.body, field) || Names(node.otherwise, field);
  });
}

}  // namespace

Result<GoTemplate> GoTemplate::Parse(std::string_view text, Functions functions) {
  GoTemplate parsed;
  parsed.source_ = text;
  parsed.functions_ = std::move(functions);
  Parser parser(parsed.source_, parsed.functions_);
  parsed.nodes_ = TRY(parser.ParseAll());
  parsed.templates_ = parser.TakeTemplates();
  return parsed;
}

bool GoTemplate::UsesField(std::string_view name) const {
  return Names(nodes_, name) || std::any_of(templates_.begin(), templates_.end(),
                                            [&](auto& one) { return Names(one.second, name); });
}

}  // namespace gantry::formats
