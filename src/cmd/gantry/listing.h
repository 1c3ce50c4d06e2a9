// SPDX-License-Identifier: Apache-2.0
//
// Lists in the ways of --format: "" and "table" are a table, "table TEMPLATE" one with other
// columns, "json" an object a line, anything else a template for each row. One thread.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "formats/go_template.h"
#include "formats/json.h"

namespace gantry::cli {

// Labels of rows by the value of one of their fields.
using RowLabels = std::map<std::string, formats::Json>;
// A method of a row, such as .Label "name".
using RowMethod = std::function<std::optional<formats::Json>(
    const formats::Json& row, std::string_view name, const std::vector<formats::Json>& args)>;
// .Label "name", of `labels`, which must outlive it.
RowMethod LabelMethod(const RowLabels& labels, const char* field);

struct ListingSpec {
  std::string default_table;  // "{{.ID}}\t{{.Names}}"
  std::string default_quiet;  // "{{.ID}}"
  formats::Json headers;      // {"ID": "CONTAINER ID", …}: every field that there is
  std::string root_type;      // Go's name of a row, for messages
  std::string failure = "template parsing error";       // in front of what a template does wrong
  std::string bad_template = "template parsing error";  // in front of why it is none
  // What --format raw means, of all fields and with --quiet; "": the word itself.
  std::string raw, raw_quiet;
  RowMethod method;
};

class Listing {
 public:
  static Result<Listing> Create(ListingSpec spec, const std::string& format, bool quiet);
  // Whether the template names a field, which may cost the daemon work (".Size").
  bool Uses(std::string_view field) const { return template_.UsesField(field); }
  // The text of all rows, each an object with the fields of the headers.
  Result<std::string> Format(const std::vector<formats::Json>& rows) const;

 private:
  ListingSpec spec_;
  bool table_ = false;
  formats::GoTemplate template_;
};

// --format of version, info, events: "json" is "{{json .}}"; \t and \n are unescaped. Errors are
// "template parsing error: …".
Result<formats::GoTemplate> ParseFormat(const std::string& format);

// Times in the forms of docker's tables.
std::string LocalTime(int64_t unix_seconds);  // "2026-11-22 05:00:00 +0000 UTC"
std::string Ago(int64_t unix_seconds);        // "2 minutes ago"
// At most `length` characters, the last one "…" when some are missing.
std::string Ellipsis(const std::string& text, size_t length);

}  // namespace gantry::cli
