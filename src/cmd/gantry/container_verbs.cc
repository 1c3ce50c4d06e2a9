// SPDX-License-Identifier: Apache-2.0
//
// Commands that do one thing to each named container: stop, kill, restart, rm, wait, pause,
// unpause, rename; and port and top, which ask for one thing.
#include <algorithm>

#include "cmd/gantry/command_list.h"
#include "cmd/gantry/container_calls.h"
#include "cmd/gantry/output.h"
#include "cmd/gantry/table.h"

namespace gantry::cli {
namespace {

// As docker's client has it, but for restart, which it does one by one.
constexpr size_t kAtOnce = 50;

// POST /containers/NAME/verb for each; prints the name or the error. 1 if any failed.
Result<int> PostEach(Cli& cli, const std::vector<std::string>& names, std::string_view verb,
                     const wire::Query& query = {}, size_t at_once = kAtOnce) {
  Api* api = TRY(cli.Connect());
  std::vector<ApiRequest> requests;
  for (const std::string& name : names) {
    ApiRequest& request = requests.emplace_back();
    request.method = "POST";
    request.path = ContainerPath(name, fmt::format("/{}", verb));
    request.query = query;
  }
  int code = 0;
  api->CallEach(requests, at_once, [&](size_t index, const Result<ApiAnswer>& answer) {
    if (answer.ok()) return Print("{}\n", names[index]);
    PrintError("{}\n", answer.error().message());
    code = 1;
  });
  return code;
}

Result<int> StopOrRestart(Cli& cli, Invocation& call, std::string_view verb) {
  int64_t timeout = 0;
  std::string signal;
  call.flags.Int("timeout", 't', &timeout, "Seconds to wait before killing it");
  call.flags.Alias("time", "timeout");
  call.flags.String("signal", 's', &signal, "Signal to send");
  if (auto code = call.Parse(ArgCount::AtLeast(1))) return *code;
  wire::Query query;
  if (!signal.empty()) query.Add("signal", signal);
  if (call.flags.Changed("timeout")) query.Add("t", fmt::format("{}", timeout));
  return PostEach(cli, call.args(), verb, query, verb == "restart" ? 1 : kAtOnce);
}

}  // namespace

Result<int> StopCommand(Cli& cli, Invocation& call) { return StopOrRestart(cli, call, "stop"); }
Result<int> RestartCommand(Cli& cli, Invocation& call) {
  return StopOrRestart(cli, call, "restart");
}

Result<int> KillCommand(Cli& cli, Invocation& call) {
  std::string signal;
  call.flags.String("signal", 's', &signal, "Signal to send (default \"KILL\")");
  if (auto code = call.Parse(ArgCount::AtLeast(1))) return *code;
  wire::Query query;
  query.Add("signal", signal.empty() ? "KILL" : signal);
  return PostEach(cli, call.args(), "kill", query);
}

Result<int> PauseCommand(Cli& cli, Invocation& call) {
  if (auto code = call.Parse(ArgCount::AtLeast(1))) return *code;
  return PostEach(cli, call.args(), "pause");
}

Result<int> UnpauseCommand(Cli& cli, Invocation& call) {
  if (auto code = call.Parse(ArgCount::AtLeast(1))) return *code;
  return PostEach(cli, call.args(), "unpause");
}

Result<int> RmCommand(Cli& cli, Invocation& call) {
  bool force = false;
  bool volumes = false;
  bool link = false;
  call.flags.Bool("force", 'f', &force, "Kill and remove running containers too");
  call.flags.Bool("volumes", 'v', &volumes, "Remove its anonymous volumes too");
  call.flags.Bool("link", 'l', &link, "Remove the link");
  if (auto code = call.Parse(ArgCount::AtLeast(1))) return *code;
  Api* api = TRY(cli.Connect());
  std::vector<ApiRequest> requests;
  for (const std::string& name : call.args()) {
    ApiRequest& request = requests.emplace_back();
    request.method = "DELETE";
    request.path = ContainerPath(name.substr(name.substr(0, 1) == "/" ? 1 : 0));
    if (volumes) request.query.Add("v", "1");
    if (link) request.query.Add("link", "1");
    if (force) request.query.Add("force", "1");
  }
  int code = 0;
  api->CallEach(requests, kAtOnce, [&](size_t index, const Result<ApiAnswer>& answer) {
    if (answer.ok()) return Print("{}\n", call.args()[index]);
    PrintError("{}\n", answer.error().message());
    // With --force what is gone already is as wanted.
    if (!force || answer.error().kind() != ErrorKind::kNotFound) code = 1;
  });
  return code;
}

Result<int> WaitCommand(Cli& cli, Invocation& call) {
  if (auto code = call.Parse(ArgCount::AtLeast(1))) return *code;
  Api* api = TRY(cli.Connect());
  int code = 0;
  for (const std::string& name : call.args()) {
    Result<ApiStream> wait = api->Open(WaitRequest(name, ""));
    Result<int> status = wait.ok() ? ReadExitCode(*wait) : Result<int>(std::move(wait).error());
    if (status.ok()) {
      Print("{}\n", *status);
      FlushOutput();
    } else {
      PrintError("{}\n", status.error().message());
      code = 1;
    }
  }
  return code;
}

Result<int> RenameCommand(Cli& cli, Invocation& call) {
  if (auto code = call.Parse(ArgCount::Exactly(2))) return *code;
  const std::string& name = call.args()[0];
  if (call.args()[1].empty()) {
    return InvalidArgument("failed to rename container: new name cannot be blank");
  }
  Api* api = TRY(cli.Connect());
  wire::Query query;
  query.Add("name", call.args()[1]);
  Result<Json> renamed = api->Post(ContainerPath(name, "/rename"), query);
  if (renamed.ok()) return 0;
  PrintError("{}\n", renamed.error().message());
  PrintError("Error: failed to rename container named {}\n", name);
  return 1;
}

Result<int> PortCommand(Cli& cli, Invocation& call) {
  if (auto code = call.Parse(ArgCount::Between(1, 2))) return *code;
  Api* api = TRY(cli.Connect());
  const std::string& name = call.args()[0];
  Json info = TRY(api->Get(ContainerPath(name, "/json")));
  const Json& ports = info["NetworkSettings"]["Ports"];
  auto address = [](const Json& binding) {
    const std::string& ip = binding["HostIp"].AsString();
    bool six = ip.find(':') != std::string::npos;
    return fmt::format(fmt::runtime(six ? "[{}]:{}" : "{}:{}"), ip, binding["HostPort"].AsString());
  };
  if (call.args().size() > 1) {
    std::string port = call.args()[1];
    std::string_view number = std::string_view(port).substr(0, port.find('/'));
    if (number.find_first_not_of("0123456789") != std::string_view::npos) {
      return InvalidArgument(
          "Error: invalid port ({}): strconv.ParseUint: parsing \"{}\": invalid syntax", number,
          number);
    }
    if (port.find('/') == std::string::npos) port += "/tcp";
    const Json& bindings = ports[port];
    if (!bindings.is_array()) {
      return NotFound("Error: No public port '{}' published for {}", call.args()[1], name);
    }
    for (const Json& binding : bindings.items()) Print("{}\n", address(binding));
    return 0;
  }
  std::vector<std::string> lines;
  for (const auto& [port, bindings] : ports.members()) {
    for (const Json& binding : bindings.items()) {
      lines.push_back(fmt::format("{} -> {}\n", port, address(binding)));
    }
  }
  std::sort(lines.begin(), lines.end(), NaturallyLess);
  for (const std::string& line : lines) PrintText(line);
  return 0;
}

Result<int> TopCommand(Cli& cli, Invocation& call) {
  if (auto code = call.Parse(ArgCount::AtLeast(1), Flags::Order::kBeforeArgs)) return *code;
  Api* api = TRY(cli.Connect());
  std::string options;
  for (size_t i = 1; i < call.args().size(); ++i) {
    options.append(i == 1 ? "" : " ").append(call.args()[i]);
  }
  wire::Query query;
  if (!options.empty()) query.Add("ps_args", options);
  Json top = TRY(api->Get(ContainerPath(call.args()[0], "/top"), query));
  Table table({.minimum_width = 20});
  auto row = [](const Json& cells) {
    std::vector<std::string> out;
    for (const Json& cell : cells.items()) out.push_back(cell.AsString());
    return out;
  };
  table.AddRow(row(top["Titles"]));
  for (const Json& process : top["Processes"].items()) table.AddRow(row(process));
  PrintText(table.Format());
  return 0;
}

Result<int> DiffCommand(Cli& cli, Invocation& call) {
  if (auto code = call.Parse(ArgCount::Exactly(1))) return *code;
  Api* api = TRY(cli.Connect());
  Json changes = TRY(api->Get(ContainerPath(call.args()[0], "/changes")));
  static constexpr std::string_view kLetters[] = {"C", "A", "D"};
  for (const Json& change : changes.items()) {
    size_t kind = static_cast<size_t>(change["Kind"].AsUint());
    Print("{} {}\n", kind < 3 ? kLetters[kind] : "?", change["Path"].AsString());
  }
  return 0;
}

}  // namespace gantry::cli
