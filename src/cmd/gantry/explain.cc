// SPDX-License-Identifier: Apache-2.0
//
// gantry explain CONTAINER: what a container is made of, as text, JSON or a picture.
#include "cmd/gantry/explain.h"

#include "base/text.h"
#include "cmd/gantry/command_list.h"
#include "cmd/gantry/container_calls.h"
#include "cmd/gantry/listing.h"
#include "cmd/gantry/output.h"
#include "cmd/gantry/table.h"
#include "formats/human_units.h"

namespace gantry::cli {
namespace {

using Rows = std::vector<std::vector<std::string>>;

std::string Number(const Json& value) { return fmt::format("{}", value.AsInt()); }

void AddTitle(std::string_view title, std::string* out) {
  out->append("\n").append(title).append("\n");
}

// Rows in columns, moved in by two blanks.
void AddRows(const Rows& rows, std::string* out) {
  Table table(Table::Layout{2, 2});
  for (const auto& row : rows) table.AddRow(row);
  std::string text = table.Format();
  for (size_t at = 0; at < text.size();) {
    size_t end = text.find('\n', at);
    out->append("  ").append(text, at, end - at).append("\n");
    at = end + 1;
  }
}

void AddChain(const Json& page, std::string* out) {
  AddTitle("CHAIN", out);
  Rows rows;
  std::string indent;
  for (const Json& link : page["Chain"].items()) {
    rows.push_back({indent + link["Role"].AsString(), Number(link["Pid"]),
                    Ellipsis(link["Command"].AsString(), 90)});
    indent += "  ";
  }
  AddRows(rows, out);
}

void AddProcesses(const Json& page, std::string* out) {
  if (page["Processes"].size() == 0) return;
  AddTitle("PROCESSES", out);
  Rows rows = {{"PID", "INSIDE", "PARENT", "UID", "THREADS", "MEMORY", "COMMAND"}};
  for (const Json& process : page["Processes"].items()) {
    rows.push_back({Number(process["Pid"]), Number(process["PidInside"]), Number(process["Parent"]),
                    Number(process["Uid"]), Number(process["Threads"]),
                    formats::BinarySize(process["Memory"].AsDouble()),
                    Ellipsis(process["Command"].AsString(), 80)});
  }
  AddRows(rows, out);
}

void AddNamespaces(const Json& page, std::string* out) {
  if (page["Namespaces"].size() == 0) return;
  AddTitle("NAMESPACES", out);
  Rows rows;
  for (const Json& space : page["Namespaces"].items()) {
    rows.push_back({space["Type"].AsString(), space["Id"].AsString(),
                    space["SharedWithEngine"].AsBool() ? "shared with the engine" : "its own"});
  }
  AddRows(rows, out);
}

void AddCgroup(const Json& page, std::string* out) {
  const Json& cgroup = page["Cgroup"];
  if (cgroup.is_null()) return;
  AddTitle("CGROUP", out);
  const Json& limits = cgroup["Limits"];
  const Json& use = cgroup["Use"];
  double pids = limits["Pids"].AsDouble();
  double cpus = limits["NanoCpus"].AsDouble() / 1e9;
  Rows rows = {
      {"memory", UseOf(use["Memory"].AsDouble(), limits["Memory"].AsDouble())},
      {"cpu", fmt::format("{:.3f} s used, {}", use["CpuNanoseconds"].AsDouble() / 1e9,
                          cpus > 0 ? fmt::format("{:g} at most", cpus) : std::string("no limit"))},
      {"pids", pids > 0 ? fmt::format("{} of {:g}", use["Pids"].AsInt(), pids)
                        : fmt::format("{}, no limit", use["Pids"].AsInt())}};
  std::string shown;
  for (const Json& path : cgroup["Paths"].items()) {
    if (path["Path"].AsString() == shown) continue;
    shown = path["Path"].AsString();
    rows.push_back({path["Controllers"].AsString(), shown});
  }
  AddRows(rows, out);
}

void AddLayers(const Json& page, std::string* out) {
  AddTitle("LAYERS", out);
  const Json& writable = page["Writable"];
  Rows rows = {{"writable", formats::HumanSize(writable["Size"].AsDouble(), 3),
                writable["Path"].AsString()}};
  const auto& layers = page["Layers"].items();
  for (auto layer = layers.rbegin(); layer != layers.rend(); ++layer) {
    rows.push_back({ShortId((*layer)["Digest"].AsString()),
                    formats::HumanSize((*layer)["Size"].AsDouble(), 3),
                    Ellipsis((*layer)["CreatedBy"].AsString(), 80)});
  }
  AddRows(rows, out);
}

void AddMounts(const Json& page, std::string* out) {
  if (page["Mounts"].size() == 0) return;
  AddTitle("MOUNTS", out);
  Rows rows = {{"WHERE", "TYPE", "FROM", "OPTIONS"}};
  for (const Json& mount : page["Mounts"].items()) {
    rows.push_back({mount["Destination"].AsString(), mount["Type"].AsString(),
                    mount["Source"].AsString(), mount["Options"].AsString()});
  }
  AddRows(rows, out);
}

void AddNetwork(const Json& page, std::string* out) {
  AddTitle("NETWORK", out);
  Rows rows = {{"mode", page["Network"]["Mode"].AsString()}};
  for (const Json& endpoint : page["Network"]["Endpoints"].items()) {
    rows.push_back(
        {endpoint["Network"].AsString(),
         fmt::format("{} {} ─ {} ─ bridge {} ─ gateway {}", endpoint["Interface"].AsString(),
                     endpoint["Address"].AsString(), endpoint["Veth"].AsString(),
                     endpoint["Bridge"].AsString(), endpoint["Gateway"].AsString())});
    rows.push_back({"", "mac " + endpoint["Mac"].AsString()});
    for (const Json& port : endpoint["Ports"].items()) {
      rows.push_back({"", fmt::format("{}:{} ▶ {}/{}: {}", port["HostIp"].AsString(),
                                      port["HostPort"].AsInt(), port["ContainerPort"].AsInt(),
                                      port["Protocol"].AsString(), port["ExposedTo"].AsString())});
      rows.push_back({"", "  " + port["Rule"].AsString()});
    }
  }
  AddRows(rows, out);
}

void AddSecurity(const Json& page, std::string* out) {
  const Json& security = page["Security"];
  if (security.is_null()) return;
  AddTitle("SECURITY", out);
  std::string names;
  for (const Json& name : security["Capabilities"].items()) {
    names.append(names.empty() ? "" : " ").append(name.AsString().substr(4));
  }
  const std::string& profile = security["AppArmor"].AsString();
  AddRows({{"capabilities", names.empty() ? "none" : names},
           {"seccomp", security["Seccomp"].AsString()},
           {"apparmor", profile.empty() ? "none" : profile},
           {"new privileges", security["NoNewPrivileges"].AsBool() ? "never" : "allowed"},
           {"privileged", security["Privileged"].AsBool() ? "yes" : "no"}},
          out);
}

void AddLog(const Json& page, std::string* out) {
  AddTitle("LOG", out);
  const Json& log = page["Log"];
  Rows rows = {{"driver", log["Driver"].AsString()}};
  if (log.Find("Path") != nullptr) {
    rows.push_back({"file", fmt::format("{} ({})", log["Path"].AsString(),
                                        formats::HumanSize(log["Size"].AsDouble(), 3))});
  }
  AddRows(rows, out);
}

}  // namespace

std::string UseOf(double used, double limit) {
  if (limit <= 0) return formats::BinarySize(used) + ", no limit";
  return fmt::format("{} of {} ({:.0f} %)", formats::BinarySize(used), formats::BinarySize(limit),
                     used / limit * 100);
}

std::string ExplainAsText(const Json& page) {
  std::string out = fmt::format("{} ({}), {}, made of {} ({})\n", page["Name"].AsString(),
                                ShortId(page["Id"].AsString()), page["State"].AsString(),
                                page["Image"].AsString(), ShortId(page["ImageId"].AsString()));
  AddChain(page, &out);
  AddProcesses(page, &out);
  AddNamespaces(page, &out);
  AddCgroup(page, &out);
  AddLayers(page, &out);
  AddMounts(page, &out);
  AddNetwork(page, &out);
  AddSecurity(page, &out);
  AddLog(page, &out);
  return out;
}

Result<int> ExplainCommand(Cli& cli, Invocation& call) {
  bool json = false, svg = false;
  call.flags.Bool("json", 0, &json, "Show it as JSON");
  call.flags.Bool("svg", 0, &svg, "Show it as a picture");
  if (auto code = call.Parse(ArgCount::Exactly(1))) return *code;
  if (json && svg) return InvalidArgument("--json and --svg can't be used together");
  Api* api = TRY(cli.Connect());
  Json page = TRY(api->Get(ContainerPath(call.args()[0], "/explain")));
  if (json) {
    Print("{}\n", page.Dump(4));
  } else {
    PrintText(svg ? ExplainAsSvg(page) : ExplainAsText(page));
  }
  return 0;
}

}  // namespace gantry::cli
