// SPDX-License-Identifier: Apache-2.0
//
// gantry search: what Docker Hub has of a name. The daemon asks it.
#include <algorithm>

#include "cmd/gantry/command_list.h"
#include "cmd/gantry/listing.h"
#include "cmd/gantry/output.h"

namespace gantry::cli {
namespace {

ListingSpec SearchSpec() {
  ListingSpec spec;
  spec.default_table = "{{.Name}}\t{{.Description}}\t{{.StarCount}}\t{{.IsOfficial}}";
  spec.default_quiet = spec.default_table;
  spec.root_type = "*formatter.searchContext";
  spec.headers = Json::MakeObject({{"Description", "DESCRIPTION"},
                                   {"IsAutomated", "AUTOMATED"},
                                   {"IsOfficial", "OFFICIAL"},
                                   {"Name", "NAME"},
                                   {"StarCount", "STARS"}});
  return spec;
}

Json SearchRow(const Json& found, bool truncate) {
  std::string description = found["description"].AsString();
  for (char& c : description) c = c == '\n' || c == '\r' ? ' ' : c;
  if (truncate) description = Ellipsis(description, 45);
  return Json::MakeObject({{"Description", description},
                           {"IsAutomated", ""},
                           {"IsOfficial", found["is_official"].AsBool() ? "[OK]" : ""},
                           {"Name", found["name"]},
                           {"StarCount", fmt::format("{}", found["star_count"].AsInt())}});
}

}  // namespace

Result<int> SearchCommand(Cli& cli, Invocation& call) {
  std::string format;
  bool no_truncate = false;
  int64_t limit = 0;
  std::vector<std::string> filters;
  BindFilters(&call.flags, &filters, "Show only what matches, such as is-official=true");
  call.flags.String("format", 0, &format,
                    "\"table\", \"table TEMPLATE\", \"json\" or a Go template");
  call.flags.Int("limit", 0, &limit, "Most results to show");
  call.flags.Bool("no-trunc", 0, &no_truncate, "Show everything in full");
  if (auto code = call.Parse(ArgCount::Exactly(1))) return *code;
  Listing listing = TRY(Listing::Create(SearchSpec(), format, false));
  ApiRequest request;
  request.path = "/images/search";
  request.query.Add("term", call.args()[0]);
  if (limit > 0) request.query.Add("limit", fmt::format("{}", limit));
  if (!filters.empty()) request.query.Add("filters", FormatFilters(filters));
  request.headers.push_back({"X-Registry-Auth", TRY(cli.RegistryAuth("docker.io"))});
  Api* api = TRY(cli.Connect());
  Json found = TRY_WITH(Json::Parse(TRY(api->Call(request)).body), "reading the daemon's answer");
  std::stable_sort(found.mutable_items().begin(), found.mutable_items().end(),
                   [](const Json& a, const Json& b) {
                     return a["star_count"].AsInt() > b["star_count"].AsInt();
                   });
  std::vector<Json> rows;
  for (const Json& item : found.items()) rows.push_back(SearchRow(item, !no_truncate));
  PrintText(TRY(listing.Format(rows)));
  return 0;
}

}  // namespace gantry::cli
