// SPDX-License-Identifier: Apache-2.0
//
// gantry ps: the list of containers.
#include <algorithm>
#include <map>
#include <set>

#include "base/text.h"
#include "cmd/gantry/command_list.h"
#include "cmd/gantry/listing.h"
#include "cmd/gantry/output.h"
#include "formats/human_units.h"

namespace gantry::cli {
namespace {

struct PortEntry {
  std::string ip;
  int64_t inside;
  int64_t outside;
  std::string type;
};

std::string JoinHostPort(const std::string& ip, const std::string& port) {
  return ip.find(':') != std::string::npos ? fmt::format("[{}]:{}", ip, port)
                                           : fmt::format("{}:{}", ip, port);
}

// Runs of ports that are the same inside and outside become one range:
// "0.0.0.0:80-81->80-81/tcp, 9988/tcp, 0.0.0.0:8080->90/tcp".
std::string DescribePorts(const Json& ports) {
  std::vector<PortEntry> entries;
  for (const Json& port : ports.items()) {
    entries.push_back({port["IP"].AsString(), port["PrivatePort"].AsInt(),
                       port["PublicPort"].AsInt(), port["Type"].AsString()});
  }
  std::sort(entries.begin(), entries.end(), [](const PortEntry& a, const PortEntry& b) {
    return std::tie(a.inside, a.ip, a.outside, a.type) <
           std::tie(b.inside, b.ip, b.outside, b.type);
  });
  struct Run {
    std::string ip, type;
    int64_t first, last;
  };
  auto describe = [](const Run& run) {
    std::string range = run.first == run.last ? fmt::format("{}", run.first)
                                              : fmt::format("{}-{}", run.first, run.last);
    if (run.ip.empty()) return fmt::format("{}/{}", range, run.type);
    return fmt::format("{}->{}/{}", JoinHostPort(run.ip, range), range, run.type);
  };
  std::vector<Run> open;
  std::vector<std::string> done;
  std::vector<std::string> mapped;
  for (const PortEntry& port : entries) {
    if (!port.ip.empty() && port.outside != port.inside) {
      mapped.push_back(fmt::format("{}->{}/{}",
                                   JoinHostPort(port.ip, fmt::format("{}", port.outside)),
                                   port.inside, port.type));
      continue;
    }
    auto run = std::find_if(open.begin(), open.end(), [&](const Run& candidate) {
      return candidate.ip == port.ip && candidate.type == port.type;
    });
    if (run == open.end()) {
      open.push_back({port.ip, port.type, port.inside, port.inside});
    } else if (port.inside == run->last + 1) {
      run->last = port.inside;
    } else {
      done.push_back(describe(*run));
      run->first = run->last = port.inside;
    }
  }
  for (const Run& run : open) done.push_back(describe(run));
  done.insert(done.end(), mapped.begin(), mapped.end());
  std::string out;
  for (const std::string& text : done) out.append(out.empty() ? "" : ", ").append(text);
  return out;
}

std::string JoinStrings(const std::vector<std::string>& parts) {
  std::string out;
  for (const std::string& part : parts) out.append(out.empty() ? "" : ",").append(part);
  return out;
}

std::string Names(const Json& container, bool truncate) {
  std::vector<std::string> names;
  for (const Json& item : container["Names"].items()) {
    std::string name = item.AsString();
    if (name.substr(0, 1) == "/") name.erase(0, 1);
    if (!truncate) {
      names.push_back(name);
    } else if (name.find('/') == std::string::npos) {
      return name;  // others are links
    }
  }
  return JoinStrings(names);
}

// From where published ports are reached, a column of our own: "everybody: 80/tcp; this host:
// 5432/tcp; 192.0.2.1: 53/udp". Ports of routed networks are reached at the container's addresses.
std::string ExposedTo(const Json& ports) {
  std::map<std::string, std::set<std::string>> by_whom;
  for (const Json& port : ports.items()) {
    const std::string& ip = port["IP"].AsString();
    if (ip.empty()) continue;
    bool any = ip == "0.0.0.0" || ip == "::";
    bool loopback = ip.starts_with("127.") || ip == "::1";
    std::string whom = any ? "everybody" : loopback ? "this host" : ip;
    int64_t number = port["PublicPort"].AsInt();
    if (number == 0) whom = "everybody with a route";
    if (number == 0) number = port["PrivatePort"].AsInt();
    by_whom[whom].insert(fmt::format("{}/{}", number, port["Type"].AsString()));
  }
  std::string shown;
  for (const auto& [whom, numbers] : by_whom) {
    shown += fmt::format("{}{}: ", shown.empty() ? "" : "; ", whom);
    for (const std::string& number : numbers) {
      shown += fmt::format("{}{}", number == *numbers.begin() ? "" : ", ", number);
    }
  }
  return shown;
}

std::string Size(const Json& container) {
  std::string own = formats::HumanSize(container["SizeRw"].AsDouble(), 3);
  double all = container["SizeRootFs"].AsDouble();
  return all > 0 ? fmt::format("{} (virtual {})", own, formats::HumanSize(all, 3)) : own;
}

Json Row(const Json& container, bool truncate) {
  std::vector<std::string> labels;
  for (const auto& [key, value] : container["Labels"].members()) {
    labels.push_back(key + "=" + value.AsString());
  }
  std::sort(labels.begin(), labels.end());
  std::vector<std::string> mounts;
  int64_t local_volumes = 0;
  for (const Json& mount : container["Mounts"].items()) {
    const std::string& name = mount["Name"].AsString();
    std::string shown = name.empty() ? mount["Source"].AsString() : name;
    mounts.push_back(truncate ? Ellipsis(shown, 15) : shown);
    if (mount["Driver"].AsString() == "local") ++local_volumes;
  }
  std::vector<std::string> networks;
  for (const auto& [name, endpoint] : container["NetworkSettings"]["Networks"].members()) {
    networks.push_back(name);
  }
  const std::string& id = container["Id"].AsString();
  std::string image = container["Image"].AsString();
  if (image.empty()) image = "<no image>";
  if (truncate && image.find('@') != std::string::npos) image.resize(image.find('@'));
  if (truncate && ShortId(image) == ShortId(container["ImageID"].AsString())) {
    image = ShortId(image);
  }
  std::string command = container["Command"].AsString();
  if (truncate) command = Ellipsis(command, 20);
  int64_t created = container["Created"].AsInt();
  // In the order of the alphabet, as --format json shows them.
  return Json::MakeObject({{"Command", formats::QuoteGo(command)},
                           {"CreatedAt", LocalTime(created)},
                           {"ID", truncate ? ShortId(id) : id},
                           {"Image", image},
                           {"Labels", JoinStrings(labels)},
                           {"LocalVolumes", fmt::format("{}", local_volumes)},
                           {"Mounts", JoinStrings(mounts)},
                           {"Names", Names(container, truncate)},
                           {"Networks", JoinStrings(networks)},
                           {"Platform", Json()},
                           {"Ports", DescribePorts(container["Ports"])},
                           {"RunningFor", Ago(created)},
                           {"Size", Size(container)},
                           {"State", container["State"]},
                           {"Status", container["Status"]}});
}

ListingSpec PsSpec(bool size) {
  ListingSpec spec;
  spec.default_table =
      "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}";
  if (size) spec.default_table += "\t{{.Size}}";
  spec.default_quiet = "{{.ID}}";
  spec.root_type = "*formatter.ContainerContext";
  spec.failure = "failed to execute template";
  spec.bad_template = "failed to parse template";
  spec.raw =
      "container_id: {{.ID}}\nimage: {{.Image}}\ncommand: {{.Command}}\ncreated_at: "
      "{{.CreatedAt}}\nstate: {{.State}}\nstatus: {{.Status}}\nnames: {{.Names}}\nlabels: "
      "{{.Labels}}\nports: {{.Ports}}\n";
  if (size) spec.raw += "size: {{.Size}}\n";
  spec.raw_quiet = "container_id: {{.ID}}";
  spec.headers = Json::MakeObject({{"Command", "COMMAND"},
                                   {"CreatedAt", "CREATED AT"},
                                   {"ExposedTo", "EXPOSED TO"},
                                   {"ID", "CONTAINER ID"},
                                   {"Image", "IMAGE"},
                                   {"Labels", "LABELS"},
                                   {"LocalVolumes", "LOCAL VOLUMES"},
                                   {"Mounts", "MOUNTS"},
                                   {"Names", "NAMES"},
                                   {"Networks", "NETWORKS"},
                                   {"Platform", "PLATFORM"},
                                   {"Ports", "PORTS"},
                                   {"RunningFor", "CREATED"},
                                   {"Size", "SIZE"},
                                   {"State", "STATE"},
                                   {"Status", "STATUS"}});
  return spec;
}

}  // namespace

Result<int> PsCommand(Cli& cli, Invocation& call) {
  bool all = false, latest = false, no_truncate = false, quiet = false, size = false;
  int64_t last = -1;
  std::string format;
  std::vector<std::string> filters;
  call.flags.Bool("all", 'a', &all, "Show stopped containers too");
  BindFilters(&call.flags, &filters, "Show only what matches, such as name=web");
  call.flags.String("format", 0, &format,
                    "\"table\", \"table TEMPLATE\", \"json\" or a Go template");
  call.flags.Int("last", 'n', &last, "Show the last containers made, in any state");
  call.flags.Bool("latest", 'l', &latest, "Show the last container made, in any state");
  call.flags.Bool("no-trunc", 0, &no_truncate, "Show everything in full");
  call.flags.Bool("quiet", 'q', &quiet, "Show only IDs");
  call.flags.Bool("size", 's', &size, "Show sizes");
  if (auto code = call.Parse(ArgCount::None())) return *code;
  if (format.empty() && !quiet) format = (*TRY(cli.Config()))["psFormat"].AsString();
  std::vector<Json> rows;
  RowLabels labels;
  ListingSpec spec = PsSpec(size);
  spec.method = LabelMethod(labels, "ID");
  Listing listing = TRY(Listing::Create(std::move(spec), format, quiet));
  wire::Query query;
  if (latest && last == -1) last = 1;
  if (all) query.Add("all", "1");
  if (last > 0) query.Add("limit", fmt::format("{}", last));
  if (size || (!quiet && listing.Uses("Size"))) query.Add("size", "1");
  if (!filters.empty()) query.Add("filters", FormatFilters(filters));
  Api* api = TRY(cli.Connect());
  Json containers = TRY(api->Get("/containers/json", query));
  for (const Json& container : containers.items()) {
    rows.push_back(Row(container, !no_truncate));
    // Only for who asks for it: docker has no such column.
    if (listing.Uses("ExposedTo")) rows.back().Set("ExposedTo", ExposedTo(container["Ports"]));
    labels[rows.back()["ID"].AsString()] = container["Labels"];
  }
  PrintText(TRY(listing.Format(rows)));
  return 0;
}

}  // namespace gantry::cli
