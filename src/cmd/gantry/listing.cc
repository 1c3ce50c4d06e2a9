// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantry/listing.h"

#include <ctime>

#include "base/clock.h"
#include "cmd/gantry/table.h"
#include "formats/human_units.h"

namespace gantry::cli {
namespace {

using formats::GoTemplate;
using formats::Json;

// What shells leave of "\t" and "\n" in single quotes.
std::string Unescape(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 1 < text.size() && (text[i + 1] == 't' || text[i + 1] == 'n')) {
      out.push_back(text[++i] == 't' ? '\t' : '\n');
    } else {
      out.push_back(text[i]);
    }
  }
  return out;
}

std::vector<std::string> SplitTabs(std::string_view line) {
  std::vector<std::string> cells;
  for (;;) {
    size_t tab = line.find('\t');
    cells.emplace_back(line.substr(0, tab));
    if (tab == std::string_view::npos) return cells;
    line.remove_prefix(tab + 1);
  }
}

// The default table reads a header field for a function call such as {{.Label "x"}}, too.
std::optional<Json> HeaderOfMethod(std::string_view name, const std::vector<Json>& args) {
  if (name != "Label" || args.empty()) return std::nullopt;
  std::string text = args[0].AsString();
  size_t dot = text.rfind('.');
  if (dot != std::string::npos) text = text.substr(dot + 1);
  for (char& c : text) c = c == '-' || c == '_' ? ' ' : c;
  return Json(text);
}

}  // namespace

RowMethod LabelMethod(const RowLabels& labels, const char* field) {
  return [&labels, field](const Json& row, std::string_view name,
                          const std::vector<Json>& args) -> std::optional<Json> {
    if (name != "Label" || args.size() != 1) return std::nullopt;
    auto found = labels.find(row[field].AsString());
    if (found == labels.end()) return Json("");
    return Json(found->second[args[0].AsString()].AsString());
  };
}

Result<formats::GoTemplate> ParseFormat(const std::string& format) {
  Result<GoTemplate> parsed =
      format == "json" ? GoTemplate::Parse("{{json .}}") : GoTemplate::Parse(Unescape(format));
  if (!parsed.ok()) return std::move(parsed).error().AddContext("template parsing error");
  return parsed;
}

Result<Listing> Listing::Create(ListingSpec spec, const std::string& format, bool quiet) {
  Listing listing;
  std::string text = Unescape(format);
  if (text.empty() || text == "table") {
    listing.table_ = !quiet;
    text = quiet ? spec.default_quiet : spec.default_table;
  } else if (text == "json") {
    text = "{{json .}}";
  } else if (text == "raw" && !spec.raw.empty()) {
    text = quiet ? spec.raw_quiet : spec.raw;
  } else if (text.substr(0, 6) == "table ") {
    listing.table_ = true;
    text = text.substr(6);
    while (!text.empty() && text.front() == ' ') text.erase(0, 1);
  } else if (quiet) {
    text = spec.default_quiet;
  }
  Result<GoTemplate> parsed = GoTemplate::Parse(text);
  if (!parsed.ok()) return std::move(parsed).error().AddContext(spec.bad_template);
  listing.template_ = std::move(*parsed);
  listing.spec_ = std::move(spec);
  return listing;
}

Result<std::string> Listing::Format(const std::vector<Json>& rows) const {
  Table table(Table::Layout{});
  std::string text;
  auto add = [&](const std::string& line) {
    if (table_) {
      table.AddRow(SplitTabs(line));
    } else {
      text.append(line).append("\n");
    }
  };
  GoTemplate::Options options;
  options.root_type = spec_.root_type;
  std::vector<std::string> lines;
  for (const Json& row : rows) {
    if (spec_.method) {
      options.method = [&](std::string_view name, const std::vector<Json>& args) {
        return spec_.method(row, name, args);
      };
    }
    Result<std::string> line = template_.Execute(row, options);
    if (!line.ok()) return std::move(line).error().AddContext(spec_.failure);
    lines.push_back(std::move(*line));
  }
  if (table_) {
    options.method = HeaderOfMethod;
    Result<std::string> header = template_.Execute(spec_.headers, options);
    if (!header.ok()) return std::move(header).error().AddContext(spec_.failure);
    add(*header);
  }
  for (const std::string& line : lines) add(line);
  return table_ ? table.Format() : text;
}

std::string LocalTime(int64_t unix_seconds) {
  time_t seconds = unix_seconds;
  tm parts{};
  localtime_r(&seconds, &parts);
  char buffer[64];
  size_t size = std::strftime(buffer, sizeof buffer, "%Y-%m-%d %H:%M:%S %z %Z", &parts);
  return std::string(buffer, size);
}

std::string Ago(int64_t unix_seconds) {
  auto age = WallClock::now() - FromUnixNanos(unix_seconds * 1'000'000'000);
  return formats::HumanDuration(age) + " ago";
}

std::string Ellipsis(const std::string& text, size_t length) {
  if (CountCharacters(text) <= length) return text;
  size_t end = 0;
  for (size_t count = 0; count + 1 < length; ++count) {
    ++end;
    while (end < text.size() && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) ++end;
  }
  return text.substr(0, end) + "…";
}

}  // namespace gantry::cli
