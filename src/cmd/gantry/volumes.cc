// SPDX-License-Identifier: Apache-2.0
//
// gantry volume: ls, create, rm.
#include <algorithm>

#include "cmd/gantry/command_list.h"
#include "cmd/gantry/listing.h"
#include "cmd/gantry/output.h"
#include "cmd/gantry/swarm_flags.h"

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

// Of a volume of a swarm, docker's words.
std::string ClusterStatus(const Json& volume) {
  if (volume.is_null()) return "N/A";
  if (volume["Info"]["VolumeID"].AsString().empty()) return "pending creation";
  size_t nodes = volume["PublishStatus"].size();
  if (nodes == 0) return "created";
  return fmt::format("in use ({} node{})", nodes, nodes == 1 ? "" : "s");
}

Json VolumeRow(const Json& volume) {
  std::string labels;
  for (const auto& [key, value] : volume["Labels"].members()) {
    labels.append(labels.empty() ? "" : ",").append(key).append("=").append(value.AsString());
  }
  const Json& cluster = volume["ClusterVolume"];
  const Json none("N/A");
  return Json::MakeObject(
      {{"Availability", cluster.is_null() ? none : cluster["Spec"]["Availability"]},
       {"Driver", volume["Driver"]},
       {"Group", cluster.is_null() ? none : cluster["Spec"]["Group"]},
       {"Labels", labels},
       {"Links", none},
       {"Mountpoint", volume["Mountpoint"]},
       {"Name", volume["Name"]},
       {"Scope", volume["Scope"]},
       {"Size", none},
       {"Status", ClusterStatus(cluster)}});
}

}  // namespace

Result<int> VolumeListCommand(Cli& cli, Invocation& call) {
  bool quiet = false;
  bool cluster = false;
  std::string format;
  std::vector<std::string> filters;
  call.flags.Bool("cluster", 0, &cluster, "Show only volumes of a swarm");
  BindFilters(&call.flags, &filters, "Show only what matches, such as dangling=true");
  call.flags.String("format", 0, &format,
                    "\"table\", \"table TEMPLATE\", \"json\" or a Go template");
  call.flags.Bool("quiet", 'q', &quiet, "Show only names");
  if (auto code = call.Parse(ArgCount::None())) return *code;
  if (!quiet) format = TRY(cli.FormatOr(format, "volumesFormat"));
  ListingSpec spec;
  spec.default_table = cluster
                           ? "{{.Name}}\t{{.Group}}\t{{.Driver}}\t{{.Availability}}\t{{.Status}}"
                           : "{{.Driver}}\t{{.Name}}";
  spec.default_quiet = "{{.Name}}";
  spec.raw = "name: {{.Name}}\ndriver: {{.Driver}}\n";
  spec.raw_quiet = "name: {{.Name}}";
  spec.root_type = "*formatter.volumeContext";
  spec.headers = Json::MakeObject({{"Availability", "AVAILABILITY"},
                                   {"Driver", "DRIVER"},
                                   {"Group", "GROUP"},
                                   {"Labels", "LABELS"},
                                   {"Links", "LINKS"},
                                   {"Mountpoint", "MOUNTPOINT"},
                                   {"Name", "VOLUME NAME"},
                                   {"Scope", "SCOPE"},
                                   {"Size", "SIZE"},
                                   {"Status", "STATUS"}});
  RowLabels labels;
  spec.method = LabelMethod(labels, "Name");
  Listing listing = TRY(Listing::Create(std::move(spec), format, quiet));
  wire::Query query;
  if (!filters.empty()) query.Add("filters", FormatFilters(filters));
  Api* api = TRY(cli.Connect());
  Json answer = TRY(api->Get("/volumes", query));
  std::vector<Json> rows;
  for (const Json& volume : answer["Volumes"].items()) {
    if (cluster && volume["ClusterVolume"].is_null()) continue;
    rows.push_back(VolumeRow(volume));
    labels[volume["Name"].AsString()] = volume["Labels"];
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
  BindSwarmFlags("volume create", &call.flags);
  if (auto code = call.Parse(ArgCount::AtMost(1))) return *code;
  std::vector<Flags::Info> given = call.GivenFlags();
  bool cluster = std::any_of(given.begin(), given.end(), [](const Flags::Info& flag) {
    return flag.name != "driver" && flag.name != "name" && flag.name != "opt" &&
           flag.name != "label";
  });
  if (cluster) return AskForSwarm(cli, call);
  if (!call.args().empty()) {
    if (!name.empty()) {
      return InvalidArgument(
          "conflicting options: cannot specify a volume-name through both --name and as a "
          "positional arg");
    }
    name = call.args()[0];
  }
  Api* api = TRY(cli.Connect());
  Json request = Json::MakeObject({{"Name", name}, {"Driver", driver}});
  // The engine shows whether they were given.
  if (!options.empty()) request.Set("DriverOpts", Pairs(options));
  if (!labels.empty()) request.Set("Labels", Pairs(labels));
  Json made = TRY(api->Post("/volumes/create", {}, std::move(request)));
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
