// SPDX-License-Identifier: Apache-2.0
//
// gantry run: create, attach, wait, start, relay, exit code.
//
//   POST create ──▶ POST attach ─┐ both sent, then both answers read
//                   POST wait ───┴▶ POST start ──▶ relay until the stream ends ──▶ wait's answer
//
// wait is registered before start, so that no exit is missed.
#include "cmd/gantry/command_list.h"
#include "cmd/gantry/container_calls.h"
#include "cmd/gantry/output.h"
#include "cmd/gantry/waterfall.h"
#include "kernel/terminal.h"

namespace gantry::cli {
namespace {

struct RunFlags {
  bool detach = false;
  bool proxy_signals = true;
  bool trace = false;
  std::string detach_keys;
};

// What the daemons have noted of this start, with our own steps, on standard error.
Result<> ShowTrace(Cli& cli, const std::string& id, StartTrace own) {
  std::vector<TraceStep> steps = own.TakeSteps();
  Api* api = TRY(cli.Connect());
  Json trace = TRY(api->Get(ContainerPath(id, "/trace")));
  for (const Json& step : trace["Steps"].items()) {
    steps.push_back({step["Process"].AsString(), step["Pid"].AsInt(), step["Begin"].AsInt(),
                     step["End"].AsInt(), step["Step"].AsString()});
  }
  PrintErrorText(Waterfall(std::move(steps)));
  return {};
}

// Starts it, relays until its end and returns its exit code.
Result<int> RunAttached(Cli& cli, const std::string& id, const Json& config, bool remove,
                        const RunFlags& run, StartTrace* trace) {
  Api* api = TRY(cli.Connect());
  bool tty = config["Tty"].AsBool();
  AttachStreams streams;
  streams.in = config["AttachStdin"].AsBool();
  streams.out = config["AttachStdout"].AsBool();
  streams.err = config["AttachStderr"].AsBool();
  streams.detach_keys = run.detach_keys;

  RelayOptions options;
  options.input = streams.in;
  options.terminal = tty;
  options.output = streams.out;
  options.error = streams.err;
  options.detach_keys = run.detach_keys;
  options.proxy_signals = run.proxy_signals;
  options.on_signal = [api, id](int signal) { SendSignal(*api, id, signal); };
  options.on_resize = [api, id](unsigned rows, unsigned columns) {
    ResizeTerminal(*api, ContainerPath(id), rows, columns);
  };
  Relay relay = TRY(Relay::Create(std::move(options)));

  ApiRequest attach_request = AttachRequest(id, streams);
  ApiRequest wait_request = WaitRequest(id, remove ? "removed" : "next-exit");
  wire::HttpConnection attach_connection = TRY(api->Start(attach_request));
  wire::HttpConnection wait_connection = TRY(api->Start(wait_request));
  ApiStream attach = TRY(api->Receive(std::move(attach_connection), attach_request));
  ApiStream wait = TRY(api->Receive(std::move(wait_connection), wait_request));

  trace->Lap("attach, wait");
  Result<Json> started = api->Post(ContainerPath(id, "/start"));
  trace->Lap("start");
  if (!started.ok()) {
    // A container that can't start is removed by the daemon; users expect it gone when we return.
    if (remove) (void)ReadExitCode(wait);
    return std::move(started).error();
  }
  if (!streams.out && !streams.err) Print("{}\n", id);
  if (tty) ResizeToOurs(*api, ContainerPath(id));
  FlushOutput();
  RelayEnd end = TRY(relay.Run(std::move(attach.connection).Hijack()));
  if (end == RelayEnd::kDetached) return 0;
  return ReadExitCode(wait);
}

Result<int> RunContainer(Cli& cli, Invocation& call, ContainerOptions& options,
                         const RunFlags& run) {
  StartTrace trace("gantry");
  ContainerRequest request = TRY(options.Build(call.flags, call.args()));
  Json& body = request.body;
  if (run.detach) {
    body.Set("AttachStdin", false).Set("AttachStdout", false).Set("AttachStderr", false);
    body.Set("StdinOnce", false);
  }
  kernel::WindowSize size = kernel::TerminalSize(BorrowedFd(STDOUT_FILENO));
  if (options.tty && size.rows != 0) {
    Json console = Json::MakeArray({size.rows, size.columns});
    body.MutableMember("HostConfig").Set("ConsoleSize", std::move(console));
  }
  Json config = Json::MakeObject({{"Tty", body["Tty"]},
                                  {"AttachStdin", body["AttachStdin"]},
                                  {"AttachStdout", body["AttachStdout"]},
                                  {"AttachStderr", body["AttachStderr"]}});
  std::string id = TRY(CreateContainer(cli, call.flags, options, std::move(request)));
  trace.Lap("create");
  if (!run.detach) {
    int code = TRY(RunAttached(cli, id, config, options.remove, run, &trace));
    if (run.trace) TRY(ShowTrace(cli, id, std::move(trace)));
    return code;
  }
  Api* api = TRY(cli.Connect());
  TRY(api->Post(ContainerPath(id, "/start")));
  trace.Lap("start");
  Print("{}\n", id);
  if (run.trace) TRY(ShowTrace(cli, id, std::move(trace)));
  return 0;
}

}  // namespace

Result<int> RunCommand(Cli& cli, Invocation& call) {
  ContainerOptions options;
  RunFlags run;
  options.Bind(&call.flags);
  call.flags.Bool("detach", 'd', &run.detach, "Run in the background and print the ID");
  call.flags.Bool("sig-proxy", 0, &run.proxy_signals,
                  "Hand signals on to the process (default true)");
  call.flags.String("detach-keys", 0, &run.detach_keys, "Keys that detach from the container");
  call.flags.Bool("trace", 0, &run.trace, "Show what each step of the start took");
  if (auto code = call.Parse(ArgCount::AtLeast(1), Flags::Order::kBeforeArgs)) return *code;
  if (run.detach && !options.attach.empty()) {
    return InvalidArgument("conflicting options: cannot specify both --attach and --detach");
  }
  bool reads_input = options.attach.empty() ? options.interactive : true;
  if (!run.detach) TRY(CheckInputTerminal(options.interactive && reads_input, options.tty));
  run.detach_keys = TRY(DetachKeysOf(cli, run.detach_keys));
  Result<int> code = RunContainer(cli, call, options, run);
  if (code.ok()) return code;
  call.PrintFailure(code.error().message());
  return StartFailureCode(code.error().message());
}

Result<int> CreateCommand(Cli& cli, Invocation& call) {
  ContainerOptions options;
  options.Bind(&call.flags);
  if (auto code = call.Parse(ArgCount::AtLeast(1), Flags::Order::kBeforeArgs)) return *code;
  Result<ContainerRequest> request = options.Build(call.flags, call.args());
  if (!request.ok()) {
    call.PrintFailure(request.error().message());
    return 125;
  }
  std::string id = TRY(CreateContainer(cli, call.flags, options, std::move(*request)));
  Print("{}\n", id);
  return 0;
}

}  // namespace gantry::cli
