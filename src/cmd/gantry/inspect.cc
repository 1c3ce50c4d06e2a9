// SPDX-License-Identifier: Apache-2.0
//
// gantry inspect and its forms for containers, images, networks and volumes. Documents are shown
// as the daemon sent them, only indented.
#include "cmd/gantry/command_list.h"
#include "cmd/gantry/container_calls.h"
#include "cmd/gantry/listing.h"
#include "cmd/gantry/output.h"

namespace gantry::cli {
namespace {

struct Kind {
  std::string_view name;
  std::string_view path;  // "{}" is the name
};
constexpr Kind kKinds[] = {
    {"container", "/containers/{}/json"},
    {"image", "/images/{}/json"},
    {"network", "/networks/{}"},
    {"volume", "/volumes/{}"},
};

// Go's json.Indent: blanks outside of strings are made anew, all else stays byte for byte.
std::string IndentJson(std::string_view text) {
  std::string out;
  size_t depth = 0;
  bool in_string = false;
  auto newline = [&] { out.append("\n").append(depth * 4, ' '); };
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (in_string) {
      out.push_back(c);
      if (c == '\\' && i + 1 < text.size()) {
        out.push_back(text[++i]);
      } else if (c == '"') {
        in_string = false;
      }
      continue;
    }
    if (c == ' ' || c == '\t' || c == '\n' || c == '\r') continue;
    if (c == '"') {
      in_string = true;
      out.push_back(c);
    } else if (c == '{' || c == '[') {
      out.push_back(c);
      size_t next = text.find_first_not_of(" \t\r\n", i + 1);
      if (next != std::string_view::npos && (text[next] == '}' || text[next] == ']')) {
        out.push_back(text[next]);
        i = next;
      } else {
        ++depth;
        newline();
      }
    } else if (c == '}' || c == ']') {
      if (depth > 0) --depth;
      newline();
      out.push_back(c);
    } else if (c == ',') {
      out.push_back(c);
      newline();
    } else if (c == ':') {
      out.append(": ");
    } else {
      out.push_back(c);
    }
  }
  return out;
}

// The document of `name`, of the first kind that has it.
Result<std::string> Fetch(Api* api, const std::string& name, const std::string& type, bool size) {
  for (const Kind& kind : kKinds) {
    if (!type.empty() && type != kind.name) continue;
    ApiRequest request;
    std::string encoded =
        kind.name == "image" ? wire::PercentEncodePath(name) : wire::PercentEncode(name);
    request.path = fmt::format(fmt::runtime(kind.path), encoded);
    if (size && kind.name == "container") request.query.Add("size", "1");
    Result<ApiAnswer> answer = api->Call(request);
    if (answer.ok()) return std::move(answer->body);
    if (!type.empty() || answer.error().kind() != ErrorKind::kNotFound) {
      return std::move(answer).error();
    }
  }
  return NotFound("Error: No such object: {}", name);
}

Result<int> Inspect(Cli& cli, Invocation& call, std::string type) {
  std::string format;
  bool size = false;
  bool any_type = type.empty();
  call.flags.String("format", 'f', &format, "\"json\" or a Go template");
  if (any_type) call.flags.String("type", 0, &type, "Kind of the object, such as container");
  if (type.empty() || type == "container") {
    call.flags.Bool("size", 's', &size, "Add the sizes of containers");
  }
  if (auto code = call.Parse(ArgCount::AtLeast(1))) return *code;
  if (call.flags.Changed("type")) {
    bool known = false;
    for (const Kind& kind : kKinds) known = known || kind.name == type;
    if (!known)
      return InvalidArgument(
          "unknown type: \"{}\": must be one of \"container\", \"image\", \"network\", \"volume\"",
          type);
  }
  formats::GoTemplate view;
  if (!format.empty() && format != "json") {
    Result<formats::GoTemplate> parsed = ParseFormat(format);
    if (!parsed.ok()) return UsageError(parsed.error());
    view = std::move(*parsed);
  }
  Api* api = TRY(cli.Connect());
  std::string shown;
  std::string errors;
  for (const std::string& name : call.args()) {
    Result<std::string> text = Fetch(api, name, type, size);
    if (!text.ok()) {
      errors.append(text.error().message()).append("\n");
      continue;
    }
    if (format.empty() || format == "json") {
      if (!shown.empty()) shown.append(",");
      while (!text->empty() && text->back() == '\n') text->pop_back();
      shown.append(*text);
      continue;
    }
    Json document = TRY_WITH(Json::Parse(*text), "reading the daemon's answer");
    Result<std::string> line = view.Execute(document);
    if (!line.ok()) {
      errors.append("template parsing error: ").append(line.error().message()).append("\n");
      break;
    }
    shown.append(*line).append("\n");
  }
  if (format.empty()) {
    PrintText(shown.empty() ? "[]\n" : IndentJson("[" + shown + "]") + "\n");
  } else if (format == "json") {
    Print("[{}]\n", shown);
  } else {
    PrintText(shown.empty() ? "\n" : shown);
  }
  if (errors.empty()) return 0;
  PrintErrorText(errors);
  return 1;
}

}  // namespace

Result<int> InspectCommand(Cli& cli, Invocation& call) { return Inspect(cli, call, ""); }
Result<int> InspectContainerCommand(Cli& cli, Invocation& call) {
  return Inspect(cli, call, "container");
}
Result<int> InspectImageCommand(Cli& cli, Invocation& call) { return Inspect(cli, call, "image"); }
Result<int> InspectNetworkCommand(Cli& cli, Invocation& call) {
  return Inspect(cli, call, "network");
}
Result<int> InspectVolumeCommand(Cli& cli, Invocation& call) {
  return Inspect(cli, call, "volume");
}

}  // namespace gantry::cli
