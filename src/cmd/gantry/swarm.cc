// SPDX-License-Identifier: Apache-2.0
//
// Commands of a swarm and of the engine's plugins. gantry's engine has neither, and says so in
// docker's words: each command asks the engine for what it would need and hands its answer on.
#include <unistd.h>

#include "base/io.h"
#include "base/number.h"
#include "base/text.h"
#include "cmd/gantry/command_list.h"
#include "cmd/gantry/documents.h"
#include "cmd/gantry/listing.h"
#include "cmd/gantry/output.h"
#include "cmd/gantry/swarm_flags.h"

namespace gantry::cli {
namespace {

constexpr size_t kMaxContent = size_t{16} << 20;  // far above what a swarm takes

Error OnlyDocker(const Invocation& call) {
  return Unimplemented("'{}': this engine can, but only docker's own command line knows how to ask",
                       call.Name());
}

std::string Verb(const Invocation& call) {
  std::string name = call.Name();
  return name.substr(name.rfind(' ') + 1);
}

// The flags of docker's command are taken: the engine refuses before they could matter. An exit
// code when the command ends here.
std::optional<int> ParseAsDocker(Invocation& call) {
  std::string command = call.Name().substr(call.Name().find(' ') + 1);
  BindSwarmFlags(command, &call.flags);
  // What follows the image is the service's command.
  auto order = command == "service create" ? Flags::Order::kBeforeArgs : Flags::Order::kAnywhere;
  return call.Parse(ArgCount::OfUsage(call.usage()), order);
}

// One that is a swarm, or has plugins, answers; then we must not pretend to have done what was
// asked.
Result<int> Ask(Cli& cli, Invocation& call, std::string_view method, std::string path) {
  ApiRequest request;
  request.method = method;
  request.path = std::move(path);
  Api* api = TRY(cli.Connect());
  Result<ApiAnswer> answer = api->Call(request);
  if (!answer.ok()) {
    if (Verb(call) == "inspect") PrintText("[]\n");
    return std::move(answer).error();
  }
  return OnlyDocker(call);
}

Result<int> HandOn(Cli& cli, Invocation& call, std::string_view method, std::string path) {
  if (auto code = ParseAsDocker(call)) return *code;
  return Ask(cli, call, method, std::move(path));
}

// The file of a secret or config must be readable before the engine is asked.
Result<> TryContent(const std::string& path, std::string_view what) {
  if (path.empty()) return InvalidArgument("{} file is required", what);
  Result<std::string> data =
      path == "-" ? ReadToEnd(BorrowedFd(STDIN_FILENO), kMaxContent) : ReadFile(path, kMaxContent);
  std::string place = path == "-" ? "STDIN" : path;
  if (!data.ok()) {
    Error error = std::move(data).error();
    if (error.error_number() != 0) {
      error = ErrnoErrorOf(error.error_number(), fmt::format("open {}", place));
    }
    return error.AddContext(fmt::format("error reading from {}", place));
  }
  if (data->empty()) return InvalidArgument("error reading from {}: data is empty", place);
  return {};
}

// An engine that could make or join a swarm refuses a request without a body.
Result<int> BeginSwarm(Cli& cli, Invocation& call) {
  Result<int> done = Ask(cli, call, "POST", "/swarm/" + Verb(call));
  bool could = !done.ok() && done.error().kind() == ErrorKind::kInvalidArgument;
  if (could) return OnlyDocker(call);
  return done;
}

Result<int> Unlock(Cli& cli, Invocation& call) {
  Api* api = TRY(cli.Connect());
  Json info = TRY(api->Get("/info"));
  const std::string& state = info["Swarm"]["LocalNodeState"].AsString();
  if (state == "inactive") {
    return FailedPrecondition("Error: This node is not part of a swarm");
  }
  if (state != "locked") return FailedPrecondition("Error: swarm is not locked");
  return OnlyDocker(call);
}

// Each service by itself, and all that was wrong with them.
Result<int> Scale(Cli& cli, Invocation& call) {
  std::vector<std::string> wrong;
  for (const std::string& spec : call.args()) {
    size_t equals = spec.find('=');
    if (equals == 0 || equals == std::string::npos || equals + 1 == spec.size()) {
      return InvalidArgument("invalid scale specifier '{}'", spec);
    }
  }
  for (const std::string& spec : call.args()) {
    std::string service = spec.substr(0, spec.find('='));
    std::string replicas = spec.substr(service.size() + 1);
    auto number = ParseNumber<uint64_t>(replicas);
    if (!number) {
      bool digits = replicas.find_first_not_of("0123456789") == std::string::npos;
      wrong.push_back(fmt::format(
          "{}: invalid replicas value {}: strconv.ParseUint: parsing \"{}\": {}", service, replicas,
          replicas, digits ? "value out of range" : "invalid syntax"));
      continue;
    }
    Result<int> asked = Ask(cli, call, "GET", "/services/" + wire::PercentEncode(service));
    if (!asked.ok()) wrong.push_back(fmt::format("{}: {}", service, asked.error().message()));
  }
  return InvalidArgument("{}", Join(wrong, "\n"));
}

}  // namespace

Result<int> AskForSwarm(Cli& cli, Invocation& call) {
  ApiRequest request;
  request.path = "/swarm";
  Api* api = TRY(cli.Connect());
  TRY(api->Call(request));
  return OnlyDocker(call);
}

Result<int> ConfigCommand(Cli& cli, Invocation& call) {
  if (auto code = ParseAsDocker(call)) return *code;
  if (Verb(call) == "create") {
    const std::string& file = call.args()[1];
    TRY_WITH(TryContent(file, "config"), "Error reading content from \"{}\"", file);
  }
  return Ask(cli, call, "GET", "/configs");
}
Result<int> NodeCommand(Cli& cli, Invocation& call) { return HandOn(cli, call, "GET", "/nodes"); }
Result<int> SecretCommand(Cli& cli, Invocation& call) {
  if (auto code = ParseAsDocker(call)) return *code;
  if (Verb(call) == "create") {
    std::string file = call.args().size() > 1 ? call.args()[1] : "";
    if (!call.flags.Changed("driver")) {
      TRY(TryContent(file, "secret"));
    } else if (!file.empty()) {
      return InvalidArgument("When using secret driver secret data must be empty");
    }
  }
  return Ask(cli, call, "GET", "/secrets");
}
Result<int> ServiceCommand(Cli& cli, Invocation& call) {
  if (auto code = ParseAsDocker(call)) return *code;
  if (Verb(call) == "scale") return Scale(cli, call);
  return Ask(cli, call, "GET", "/services");
}
Result<int> SwarmCommand(Cli& cli, Invocation& call) {
  if (auto code = ParseAsDocker(call)) return *code;
  std::string verb = Verb(call);
  if (verb == "init" || verb == "join") return BeginSwarm(cli, call);
  if (verb == "unlock") return Unlock(cli, call);
  if (verb == "update" && call.GivenFlags().empty()) {
    call.PrintHelp();
    return 0;
  }
  if (verb == "unlock-key" && !call.flags.Changed("rotate")) {
    return TRY_WITH(Ask(cli, call, "GET", "/swarm/unlockkey"), "could not fetch unlock key");
  }
  if (verb == "join-token" && call.args()[0] != "worker" && call.args()[0] != "manager") {
    return InvalidArgument("unknown role {}", call.args()[0]);
  }
  return Ask(cli, call, "GET", "/swarm");
}
Result<int> PluginChangeCommand(Cli& cli, Invocation& call) {
  std::string verb = Verb(call);
  std::string name = call.FirstWord();
  // A new one is asked for at its registry, one that is there by its name.
  if (name.empty() || verb == "install" || verb == "create") {
    return HandOn(cli, call, "GET", "/plugins/privileges?remote=" + name);
  }
  bool tagged = name.find(':', name.rfind('/') + 1) != std::string::npos;
  if (verb == "push" && !tagged) name += ":latest";
  auto done =
      HandOn(cli, call, "GET", fmt::format("/plugins/{}/json", wire::PercentEncodePath(name)));
  if (verb == "upgrade") return TRY_WITH(std::move(done), "error reading plugin data");
  return done;
}

Result<int> SwarmLeaveCommand(Cli& cli, Invocation& call) {
  bool force = false;
  call.flags.Bool("force", 'f', &force, "Also as a manager, and in spite of warnings");
  if (auto code = call.Parse(ArgCount::None())) return *code;
  wire::Query query;
  if (force) query.Add("force", "1");
  Api* api = TRY(cli.Connect());
  TRY(api->Post("/swarm/leave", query));
  PrintText("Node left the swarm.\n");
  return 0;
}

// Only cluster volumes, a swarm's, can be changed.
Result<int> VolumeUpdateCommand(Cli& cli, Invocation& call) {
  return HandOn(cli, call, "PUT", "/volumes/" + wire::PercentEncode(call.FirstWord()));
}

Result<int> PluginListCommand(Cli& cli, Invocation& call) {
  std::string format;
  bool no_truncate = false, quiet = false;
  std::vector<std::string> filters;
  BindFilters(&call.flags, &filters, "Show only what matches, such as enabled=true");
  call.flags.String("format", 0, &format,
                    "\"table\", \"table TEMPLATE\", \"json\" or a Go template");
  call.flags.Bool("no-trunc", 0, &no_truncate, "Show IDs in full");
  call.flags.Bool("quiet", 'q', &quiet, "Show only IDs");
  if (auto code = call.Parse(ArgCount::None())) return *code;
  if (!quiet) format = TRY(cli.FormatOr(format, "pluginsFormat"));
  ListingSpec spec;
  spec.default_table = "{{.ID}}\t{{.Name}}\t{{.Description}}\t{{.Enabled}}";
  spec.default_quiet = "{{.ID}}";
  spec.root_type = "*formatter.pluginContext";
  spec.headers = Json::MakeObject({{"Description", "DESCRIPTION"},
                                   {"Enabled", "ENABLED"},
                                   {"ID", "ID"},
                                   {"Name", "NAME"},
                                   {"PluginReference", ""}});
  Listing listing = TRY(Listing::Create(std::move(spec), format, quiet));
  wire::Query query;
  if (!filters.empty()) query.Add("filters", FormatFilters(filters));
  Api* api = TRY(cli.Connect());
  Json plugins = TRY(api->Get("/plugins", query));
  std::vector<Json> rows;
  for (const Json& plugin : plugins.items()) {
    const std::string& id = plugin["Id"].AsString();
    const std::string& text = plugin["Config"]["Description"].AsString();
    rows.push_back(Json::MakeObject({{"Description", no_truncate ? text : Ellipsis(text, 45)},
                                     {"Enabled", plugin["Enabled"].AsBool() ? "true" : "false"},
                                     {"ID", no_truncate ? id : ShortId(id)},
                                     {"Name", plugin["Name"]},
                                     {"PluginReference", plugin["PluginReference"]}}));
  }
  PrintText(TRY(listing.Format(rows)));
  return 0;
}

Result<int> PluginInspectCommand(Cli& cli, Invocation& call) {
  std::string format;
  call.flags.String("format", 'f', &format, "\"json\" or a Go template");
  if (auto code = call.Parse(ArgCount::AtLeast(1))) return *code;
  Api* api = TRY(cli.Connect());
  return ShowDocuments(call.args(), format, [&](const std::string& name) -> Result<std::string> {
    ApiRequest request;
    request.path = fmt::format("/plugins/{}/json", wire::PercentEncodePath(name));
    return TRY(api->Call(request)).body;
  });
}

}  // namespace gantry::cli
