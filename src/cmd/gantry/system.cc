// SPDX-License-Identifier: Apache-2.0
//
// gantry version, info and events: what concerns the daemon as a whole.
#include <algorithm>
#include <ctime>

#include "cmd/gantry/command_list.h"
#include "cmd/gantry/listing.h"
#include "cmd/gantry/output.h"
#include "cmd/gantry/plugins.h"
#include "cmd/gantry/progress.h"
#include "cmd/gantry/time_spec.h"
#include "formats/human_units.h"

namespace gantry::cli {
namespace {

constexpr int kBadFormat = 64;  // of `events`, as docker has it

// "executing template" errors as docker words them.
Result<std::string> Render(const formats::GoTemplate& view, const Json& document) {
  Result<std::string> text = view.Execute(document);
  if (!text.ok()) return std::move(text).error().AddContext("failed to execute template");
  return text;
}

void AppendFact(std::string* out, std::string_view indent, std::string_view name,
                const Json& value) {
  if (value.is_null() || (value.is_string() && value.size() == 0)) return;
  out->append(indent).append(name).append(": ");
  out->append(formats::FormatGoValue(value)).append("\n");
}

std::string VersionText(const Json& version) {
  const Json& client = version["Client"];
  std::string out = "Client: gantry\n";
  auto line = [&](std::string_view indent, std::string_view name, const Json& value) {
    if (value.is_null() || value.size() == 0) return;
    std::string label(name);
    label.append(":").resize(std::max<size_t>(label.size(), 18), ' ');
    out.append(indent).append(label).append(value.AsString()).append("\n");
  };
  line(" ", "Version", client["Version"]);
  line(" ", "API version", client["ApiVersion"]);
  line(" ", "OS/Arch", client["Os"].AsString() + "/" + client["Arch"].AsString());
  const Json& server = version["Server"];
  if (server.is_null()) return out;
  const std::string& platform = server["Platform"]["Name"].AsString();
  out.append("\nServer:").append(platform.empty() ? "" : " ").append(platform).append("\n");
  for (const Json& component : server["Components"].items()) {
    out.append(" ").append(component["Name"].AsString()).append(":\n");
    line("  ", "Version", component["Version"]);
    const Json& details = component["Details"];
    if (component["Name"].AsString() == "Engine") {
      line("  ", "API version",
           details["ApiVersion"].AsString() + " (minimum version " +
               details["MinAPIVersion"].AsString() + ")");
      line("  ", "Built", details["BuildTime"]);
      line("  ", "OS/Arch", details["Os"].AsString() + "/" + details["Arch"].AsString());
    }
    line("  ", "Git commit", details["GitCommit"]);
  }
  return out;
}

std::string InfoText(const Json& info, const std::string& context, bool debug,
                     const std::vector<Plugin>& plugins) {
  std::string out =
      fmt::format("Client: gantry\n Version:    {}\n Context:    {}\n Debug Mode: {}\n",
                  GANTRY_VERSION, context, debug);
  if (!plugins.empty()) out.append(" Plugins:\n");
  for (const Plugin& plugin : plugins) out += fmt::format("  {}: {}\n", plugin.name, plugin.path);
  out.append("\nServer:\n");
  AppendFact(&out, " ", "Containers", info["Containers"]);
  AppendFact(&out, "  ", "Running", info["ContainersRunning"]);
  AppendFact(&out, "  ", "Paused", info["ContainersPaused"]);
  AppendFact(&out, "  ", "Stopped", info["ContainersStopped"]);
  AppendFact(&out, " ", "Images", info["Images"]);
  AppendFact(&out, " ", "Server Version", info["ServerVersion"]);
  AppendFact(&out, " ", "Storage Driver", info["Driver"]);
  for (const Json& pair : info["DriverStatus"].items()) {
    AppendFact(&out, "  ", pair.at(0).AsString(), pair.at(1));
  }
  AppendFact(&out, " ", "Logging Driver", info["LoggingDriver"]);
  AppendFact(&out, " ", "Cgroup Driver", info["CgroupDriver"]);
  AppendFact(&out, " ", "Cgroup Version", info["CgroupVersion"]);
  auto names = [](const Json& items) {
    std::string text;
    for (const Json& item : items.items()) {
      text.append(text.empty() ? "" : " ").append(item.AsString());
    }
    return text;
  };
  out.append(" Plugins:\n");
  AppendFact(&out, "  ", "Volume", names(info["Plugins"]["Volume"]));
  AppendFact(&out, "  ", "Network", names(info["Plugins"]["Network"]));
  AppendFact(&out, "  ", "Log", names(info["Plugins"]["Log"]));
  std::string runtimes;
  for (const auto& [name, runtime] : info["Runtimes"].members()) {
    runtimes.append(runtimes.empty() ? "" : " ").append(name);
  }
  AppendFact(&out, " ", "Runtimes", runtimes);
  AppendFact(&out, " ", "Default Runtime", info["DefaultRuntime"]);
  AppendFact(&out, " ", "Init Binary", info["InitBinary"]);
  out.append(" Security Options:\n");
  for (const Json& option : info["SecurityOptions"].items()) {
    out.append("  ").append(option.AsString()).append("\n");
  }
  AppendFact(&out, " ", "Kernel Version", info["KernelVersion"]);
  AppendFact(&out, " ", "Operating System", info["OperatingSystem"]);
  AppendFact(&out, " ", "OSType", info["OSType"]);
  AppendFact(&out, " ", "Architecture", info["Architecture"]);
  AppendFact(&out, " ", "CPUs", info["NCPU"]);
  AppendFact(&out, " ", "Total Memory", formats::BinarySize(info["MemTotal"].AsDouble()));
  AppendFact(&out, " ", "Name", info["Name"]);
  AppendFact(&out, " ", "ID", info["ID"]);
  AppendFact(&out, " ", "Docker Root Dir", info["DockerRootDir"]);
  AppendFact(&out, " ", "Debug Mode", info["Debug"]);
  if (info["RegistryConfig"]["InsecureRegistryCIDRs"].size() > 0) {
    out.append(" Insecure Registries:\n");
    for (const auto& [name, index] : info["RegistryConfig"]["IndexConfigs"].members()) {
      if (!index["Secure"].AsBool(true)) out.append("  ").append(name).append("\n");
    }
    for (const Json& range : info["RegistryConfig"]["InsecureRegistryCIDRs"].items()) {
      out.append("  ").append(range.AsString()).append("\n");
    }
  }
  AppendFact(&out, " ", "Live Restore Enabled", info["LiveRestoreEnabled"]);
  return out;
}

// "2026-11-22T05:00:00.123456789Z", in local time.
std::string LocalRfc3339(int64_t nanos) {
  time_t seconds = nanos / 1'000'000'000;
  tm parts{};
  localtime_r(&seconds, &parts);
  char date[32];
  char zone[16];
  std::strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &parts);
  std::strftime(zone, sizeof zone, "%z", &parts);
  std::string offset = zone;
  offset = parts.tm_gmtoff == 0 ? "Z" : offset.substr(0, 3) + ":" + offset.substr(3);
  return fmt::format("{}.{:09}{}", date, nanos % 1'000'000'000, offset);
}

std::string EventText(const Json& event) {
  int64_t nanos = event["timeNano"].AsInt();
  if (nanos == 0) nanos = event["time"].AsInt() * 1'000'000'000;
  std::vector<std::string> attributes;
  for (const auto& [name, value] : event["Actor"]["Attributes"].members()) {
    attributes.push_back(name + "=" + value.AsString());
  }
  std::sort(attributes.begin(), attributes.end());
  std::string out = fmt::format("{} {} {} {}", LocalRfc3339(nanos), event["Type"].AsString(),
                                event["Action"].AsString(), event["Actor"]["ID"].AsString());
  for (size_t i = 0; i < attributes.size(); ++i) {
    out.append(i == 0 ? " (" : ", ").append(attributes[i]);
  }
  if (!attributes.empty()) out.append(")");
  return out;
}

}  // namespace

// Docker's templates name this APIVersion, its JSON ApiVersion.
void AddTemplateName(Json* part) {
  const Json* version = part->Find("ApiVersion");
  if (version != nullptr) part->Set("APIVersion", Json(*version));
}

Result<int> VersionCommand(Cli& cli, Invocation& call) {
  std::string format;
  call.flags.String("format", 'f', &format, "\"json\" or a Go template");
  if (auto code = call.Parse(ArgCount::None())) return *code;
  formats::GoTemplate view;
  if (!format.empty()) {
    Result<formats::GoTemplate> parsed = ParseFormat(format);
    if (!parsed.ok()) return UsageError(parsed.error());
    view = std::move(*parsed);
  }
  Api* api = TRY(cli.Connect());
  Result<Json> server = api->Get("/version");
  Json version = Json::MakeObject();
  version.Set("Client", Json::MakeObject({{"Platform", Json::MakeObject({{"Name", "gantry"}})},
                                          {"Version", GANTRY_VERSION},
                                          {"ApiVersion", api->version()},
                                          {"DefaultAPIVersion", Api::kOurVersion},
                                          {"Os", "linux"},
#if defined(__aarch64__)
                                          {"Arch", "arm64"},
#else
                                          {"Arch", "amd64"},
#endif
                                          {"Context", TRY(cli.CurrentContext())}}));
  version.Set("Server", server.ok() ? *server : Json());
  if (format.find(".APIVersion") != std::string::npos) {
    AddTemplateName(&version.MutableMember("Client"));
    AddTemplateName(&version.MutableMember("Server"));
  }
  PrintText(format.empty() ? VersionText(version) : TRY(Render(view, version)) + "\n");
  if (server.ok()) return 0;
  PrintError("{}\n", server.error().message());
  return 1;
}

Result<int> InfoCommand(Cli& cli, Invocation& call) {
  std::string format;
  call.flags.String("format", 'f', &format, "\"json\" or a Go template");
  if (auto code = call.Parse(ArgCount::None())) return *code;
  formats::GoTemplate view;
  if (!format.empty()) {
    Result<formats::GoTemplate> parsed = ParseFormat(format);
    if (!parsed.ok()) return UsageError(parsed.error());
    view = std::move(*parsed);
  }
  Api* api = TRY(cli.Connect());
  Json info = TRY(api->Get("/info"));
  if (format.empty()) {
    PrintText(InfoText(info, TRY(cli.CurrentContext()), cli.options().debug, ListPlugins(cli)));
    for (const Json& warning : info["Warnings"].items()) PrintError("{}\n", warning.AsString());
  } else {
    PrintText(TRY(Render(view, info)) + "\n");
  }
  return 0;
}

// As Go's events.Message has its members, and one of nothing.
formats::GoTemplate::Options EventNames() {
  formats::GoTemplate::Options options;
  options.root_type = "*events.Message";
  options.root_names = {{"From", "from"},     {"ID", "id"},     {"Scope", "scope"},
                        {"Status", "status"}, {"Time", "time"}, {"TimeNano", "timeNano"}};
  return options;
}
Json NoEvent() {
  return Json::MakeObject(
      {{"Type", ""},
       {"Action", ""},
       {"Actor", Json::MakeObject({{"ID", ""}, {"Attributes", Json::MakeObject()}})}});
}

Result<int> EventsCommand(Cli& cli, Invocation& call) {
  std::string format, since, until;
  std::vector<std::string> filters;
  BindFilters(&call.flags, &filters, "Show only what matches, such as type=container");
  call.flags.String("format", 0, &format, "\"json\" or a Go template");
  call.flags.String("since", 0, &since, "Events since a time, or an age such as 42m");
  call.flags.String("until", 0, &until, "Stop at a time");
  if (auto code = call.Parse(ArgCount::None())) return *code;
  formats::GoTemplate view;
  const formats::GoTemplate::Options names = EventNames();
  if (!format.empty()) {
    // What it does wrong is told before any event comes.
    Result<formats::GoTemplate> parsed = ParseFormat(format);
    Result<std::string> tried =
        parsed.ok() ? parsed->Execute(NoEvent(), names) : std::move(parsed).error();
    if (!tried.ok()) {
      PrintError("Error parsing format: {}\n", tried.error().message());
      return kBadFormat;
    }
    view = std::move(*parsed);
  }
  ApiRequest request;
  request.path = "/events";
  WallTime now = WallClock::now();
  if (!since.empty()) request.query.Add("since", TRY(ParseTimeSpec(since, now)));
  if (!until.empty()) request.query.Add("until", TRY(ParseTimeSpec(until, now)));
  if (!filters.empty()) request.query.Add("filters", FormatFilters(filters));
  Api* api = TRY(cli.Connect());
  ApiStream stream = TRY(api->Open(request));
  JsonStream events(&stream.connection);
  for (;;) {
    Json event = TRY(events.Next());
    if (event.is_null()) return 0;
    Print("{}\n", format.empty() ? EventText(event) : TRY(view.Execute(event, names)));
    if (!FlushOutput()) return 1;
  }
}

}  // namespace gantry::cli
