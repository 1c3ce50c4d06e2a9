// SPDX-License-Identifier: Apache-2.0
//
// gantry attach and gantry start: joining a container that exists already.
#include "cmd/gantry/command_list.h"
#include "cmd/gantry/container_calls.h"
#include "cmd/gantry/output.h"
#include "kernel/terminal.h"

namespace gantry::cli {
namespace {

struct JoinOptions {
  bool start = false;  // after attaching
  bool input = false;
  bool proxy_signals = true;
  std::string detach_keys;
};

// Attaches, starts if asked to, relays; the container's exit code.
Result<int> Join(Cli& cli, const std::string& name, const Json& info, const JoinOptions& join) {
  Api* api = TRY(cli.Connect());
  const std::string& id = info["Id"].AsString();
  bool tty = info["Config"]["Tty"].AsBool();
  AttachStreams streams;
  streams.in = join.input && info["Config"]["OpenStdin"].AsBool();
  streams.detach_keys = join.detach_keys;
  TRY(CheckInputTerminal(streams.in, tty));

  RelayOptions options;
  options.input = streams.in;
  options.terminal = tty;
  options.detach_keys = join.detach_keys;
  options.proxy_signals = join.proxy_signals && !tty;
  options.on_signal = [api, id](int signal) { SendSignal(*api, id, signal); };
  options.on_resize = [api, id](unsigned rows, unsigned columns) {
    ResizeTerminal(*api, ContainerPath(id), rows, columns);
  };
  Relay relay = TRY(Relay::Create(std::move(options)));

  bool remove = info["HostConfig"]["AutoRemove"].AsBool();
  std::string_view condition = !join.start ? "" : remove ? "removed" : "next-exit";
  ApiRequest attach_request = AttachRequest(id, streams);
  ApiRequest wait_request = WaitRequest(id, condition);
  wire::HttpConnection attach_connection = TRY(api->Start(attach_request));
  wire::HttpConnection wait_connection = TRY(api->Start(wait_request));
  ApiStream attach = TRY(api->Receive(std::move(attach_connection), attach_request));
  ApiStream wait = TRY(api->Receive(std::move(wait_connection), wait_request));
  if (join.start) TRY(api->Post(ContainerPath(name, "/start")));
  if (tty) {
    // A size that differs for a moment makes full-screen programs draw themselves anew.
    kernel::WindowSize size = kernel::TerminalSize(BorrowedFd(STDOUT_FILENO));
    if (!join.start && size.rows != 0) {
      ResizeTerminal(*api, ContainerPath(id), size.rows + 1u, size.columns + 1u);
    }
    ResizeToOurs(*api, ContainerPath(id));
  }
  RelayEnd end = TRY(relay.Run(std::move(attach.connection).Hijack()));
  if (end == RelayEnd::kDetached) {
    if (join.start) return 0;
    return MakeError(ErrorKind::kCancelled, "read escape sequence");
  }
  return ReadExitCode(wait);
}

}  // namespace

Result<int> AttachCommand(Cli& cli, Invocation& call) {
  bool no_input = false;
  JoinOptions join;
  call.flags.Bool("no-stdin", 0, &no_input, "Do not forward standard input");
  call.flags.Bool("sig-proxy", 0, &join.proxy_signals,
                  "Hand signals on to the process (default true)");
  call.flags.String("detach-keys", 0, &join.detach_keys, "Keys that detach from the container");
  if (auto code = call.Parse(ArgCount::Exactly(1))) return *code;
  Api* api = TRY(cli.Connect());
  const std::string& name = call.args()[0];
  Json info = TRY(api->Get(ContainerPath(name, "/json")));
  const Json& state = info["State"];
  if (!state["Running"].AsBool()) {
    return FailedPrecondition("You cannot attach to a stopped container, start it first");
  }
  if (state["Paused"].AsBool()) {
    return FailedPrecondition("You cannot attach to a paused container, unpause it first");
  }
  if (state["Restarting"].AsBool()) {
    return FailedPrecondition(
        "You cannot attach to a restarting container, wait until it is running");
  }
  join.input = !no_input;
  join.detach_keys = TRY(DetachKeysOf(cli, join.detach_keys));
  return Join(cli, name, info, join);
}

Result<int> StartCommand(Cli& cli, Invocation& call) {
  bool attach = false;
  JoinOptions join;
  join.start = true;
  call.flags.Bool("attach", 'a', &attach, "Attach the output and hand signals on");
  call.flags.Bool("interactive", 'i', &join.input, "Attach standard input");
  std::string checkpoint, checkpoint_directory;
  call.flags.String("checkpoint", 0, &checkpoint, "Go on from this checkpoint");
  call.flags.String("checkpoint-dir", 0, &checkpoint_directory, "Where the checkpoint is");
  call.flags.String("detach-keys", 0, &join.detach_keys, "Keys that detach from the container");
  if (auto code = call.Parse(ArgCount::AtLeast(1))) return *code;
  Api* api = TRY(cli.Connect());
  if (!checkpoint.empty()) {
    TRY(api->RequireExperimental("\"--checkpoint\""));
    if (call.args().size() > 1) {
      return InvalidArgument("you cannot restore multiple containers at once");
    }
    wire::Query query;
    query.Add("checkpoint", checkpoint);
    if (!checkpoint_directory.empty()) query.Add("checkpoint-dir", checkpoint_directory);
    TRY(api->Post(ContainerPath(call.args()[0], "/start"), query));
    return 0;
  }
  if (attach || join.input) {
    if (call.args().size() > 1) {
      return InvalidArgument("you cannot start and attach multiple containers at once");
    }
    join.proxy_signals = attach;
    join.detach_keys = TRY(DetachKeysOf(cli, join.detach_keys));
    Json info = TRY(api->Get(ContainerPath(call.args()[0], "/json")));
    return Join(cli, call.args()[0], info, join);
  }
  std::string failed;
  int code = 0;
  for (const std::string& name : call.args()) {
    Result<Json> started = api->Post(ContainerPath(name, "/start"));
    if (started.ok()) {
      Print("{}\n", name);
      continue;
    }
    PrintError("{}\n", started.error().message());
    failed.append(code == 0 ? "" : ", ").append(name);
    code = 1;
  }
  if (code != 0) PrintError("Error: failed to start containers: {}\n", failed);
  return code;
}

}  // namespace gantry::cli
