// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantry/documents.h"

#include "cmd/gantry/absent_fields.h"
#include "cmd/gantry/listing.h"
#include "cmd/gantry/output.h"

namespace gantry::cli {
namespace {

using formats::Json;

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

}  // namespace

Result<int> ShowDocuments(
    const std::vector<std::string>& names, const std::string& format,
    const std::function<Result<std::string>(const std::string& name)>& fetch) {
  formats::GoTemplate view;
  if (!format.empty() && format != "json") {
    Result<formats::GoTemplate> parsed = ParseFormat(format);
    if (!parsed.ok()) return UsageError(parsed.error());
    view = std::move(*parsed);
  }
  std::string shown;
  std::string errors;
  for (const std::string& name : names) {
    Result<std::string> text = fetch(name);
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
    formats::GoTemplate::Options options;
    options.absent = AbsentField;
    Result<std::string> line = view.Execute(document, options);
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

}  // namespace gantry::cli
