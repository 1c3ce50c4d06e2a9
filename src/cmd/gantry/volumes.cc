// SPDX-License-Identifier: Apache-2.0
//
// gantry volume: ls, create, rm.
#include <algorithm>

#include "cmd/gantry/command_list.h"
#include "cmd/gantry/listing.h"
#include "cmd/gantry/output.h"

namespace gantry::cli {
namespace {

Json Pairs(const std::vector<std::string>& pairs) {
  Json object = Json::MakeObject();
  for (const std::string& pair : pairs) {
    size_t equals = pair.find('=');
    object.Set(pair.substr(0, equals), equals == std::string::npos ? "" : pair.substr(equals + 1));
  }
  return object;
}

}  // namespace

Result<int> VolumeListCommand(Cli& cli, Invocation& call) {
  bool quiet = false;
  std::string format;
  std::vector<std::string> filters;
  BindFilters(&call.flags, &filters, "Show only what matches, such as dangling=true");
  call.flags.String("format", 0, &format,
                    "\"table\", \"table TEMPLATE\", \"json\" or a Go template");
  call.flags.Bool("quiet", 'q', &quiet, "Show only names");
  if (auto code = call.Parse(ArgCount::None())) return *code;
  if (!quiet) format = TRY(cli.FormatOr(format, "volumesFormat"));
  ListingSpec spec;
  spec.default_table = "{{.Driver}}\t{{.Name}}";
  spec.default_quiet = "{{.Name}}";
  spec.root_type = "*formatter.volumeContext";
  spec.headers = Json::MakeObject({{"Driver", "DRIVER"},
                                   {"Labels", "LABELS"},
                                   {"Mountpoint", "MOUNTPOINT"},
                                   {"Name", "VOLUME NAME"},
                                   {"Scope", "SCOPE"}});
  Listing listing = TRY(Listing::Create(std::move(spec), format, quiet));
  wire::Query query;
  if (!filters.empty()) query.Add("filters", FormatFilters(filters));
  Api* api = TRY(cli.Connect());
  Json answer = TRY(api->Get("/volumes", query));
  std::vector<Json> rows;
  for (const Json& volume : answer["Volumes"].items()) {
    std::string labels;
    for (const auto& [key, value] : volume["Labels"].members()) {
      labels.append(labels.empty() ? "" : ",").append(key).append("=").append(value.AsString());
    }
    rows.push_back(Json::MakeObject({{"Driver", volume["Driver"]},
                                     {"Labels", labels},
                                     {"Mountpoint", volume["Mountpoint"]},
                                     {"Name", volume["Name"]},
                                     {"Scope", volume["Scope"]}}));
  }
  std::sort(rows.begin(), rows.end(), [](const Json& a, const Json& b) {
    return a["Name"].AsString() < b["Name"].AsString();
  });
  PrintText(TRY(listing.Format(rows)));
  return 0;
}

Result<int> VolumeCreateCommand(Cli& cli, Invocation& call) {
  std::string driver = "local", name;
  std::vector<std::string> options, labels;
  call.flags.String("driver", 'd', &driver, "Driver of the volume (default \"local\")");
  call.flags.String("name", 0, &name, "Name of the volume");
  call.flags.List("opt", 'o', &options, "Options of the driver");
  call.flags.List("label", 0, &labels, "Set labels");
  if (auto code = call.Parse(ArgCount::AtMost(1))) return *code;
  if (!call.args().empty()) {
    if (!name.empty()) {
      return InvalidArgument(
          "conflicting options: cannot specify a volume-name through both --name and as a "
          "positional arg");
    }
    name = call.args()[0];
  }
  Api* api = TRY(cli.Connect());
  Json made = TRY(api->Post("/volumes/create", {},
                            Json::MakeObject({{"Name", name},
                                              {"Driver", driver},
                                              {"DriverOpts", Pairs(options)},
                                              {"Labels", Pairs(labels)}})));
  Print("{}\n", made["Name"].AsString());
  return 0;
}

Result<int> VolumeRmCommand(Cli& cli, Invocation& call) {
  bool force = false;
  call.flags.Bool("force", 'f', &force, "Remove it although its driver fails");
  if (auto code = call.Parse(ArgCount::AtLeast(1))) return *code;
  Api* api = TRY(cli.Connect());
  int code = 0;
  for (const std::string& name : call.args()) {
    ApiRequest request;
    request.method = "DELETE";
    request.path = "/volumes/" + wire::PercentEncode(name);
    if (force) request.query.Add("force", "1");
    Result<ApiAnswer> removed = api->Call(request);
    if (removed.ok()) {
      Print("{}\n", name);
    } else {
      PrintError("{}\n", removed.error().message());
      code = 1;
    }
  }
  return code;
}

}  // namespace gantry::cli
