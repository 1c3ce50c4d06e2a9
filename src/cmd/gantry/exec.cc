// SPDX-License-Identifier: Apache-2.0
//
// gantry exec: a further process in a running container.
#include "cmd/gantry/command_list.h"
#include "cmd/gantry/container_calls.h"
#include "cmd/gantry/output.h"
#include "cmd/gantry/value_spec.h"
#include "kernel/terminal.h"

namespace gantry::cli {
namespace {

struct ExecFlags {
  bool detach = false;
  bool interactive = false;
  bool tty = false;
  bool privileged = false;
  std::string detach_keys, user, workdir;
  std::vector<std::string> env, env_files;
};

Result<Json> ExecBody(const ExecFlags& exec, const std::vector<std::string>& args) {
  std::vector<std::string> env;
  for (const std::string& file : exec.env_files) {
    for (std::string& pair : TRY(ReadPairsFile(file, true))) env.push_back(std::move(pair));
  }
  for (const std::string& variable : exec.env) env.push_back(TRY(ParseVariable(variable)));
  Json body = Json::MakeObject({{"User", exec.user},
                                {"Privileged", exec.privileged},
                                {"Tty", exec.tty},
                                {"AttachStdin", exec.interactive && !exec.detach},
                                {"AttachStdout", !exec.detach},
                                {"AttachStderr", !exec.detach},
                                {"Detach", exec.detach},
                                {"DetachKeys", exec.detach_keys},
                                {"Env", env},
                                {"WorkingDir", exec.workdir}});
  body.Set("Cmd", std::vector<std::string>(args.begin() + 1, args.end()));
  return body;
}

Result<int> ExecAttached(Api* api, const std::string& id, const ExecFlags& exec) {
  std::string path = "/exec/" + id;
  RelayOptions options;
  options.input = exec.interactive;
  options.terminal = exec.tty;
  options.detach_keys = exec.detach_keys;
  options.on_resize = [api, path](unsigned rows, unsigned columns) {
    ResizeTerminal(*api, path, rows, columns);
  };
  Relay relay = TRY(Relay::Create(std::move(options)));
  ApiRequest start;
  start.method = "POST";
  start.path = path + "/start";
  start.upgrade = true;
  start.body = Json::MakeObject({{"Detach", false}, {"Tty", exec.tty}});
  kernel::WindowSize size = kernel::TerminalSize(BorrowedFd(STDOUT_FILENO));
  if (exec.tty && size.rows != 0) {
    start.body->Set("ConsoleSize", Json::MakeArray({size.rows, size.columns}));
  }
  ApiStream stream = TRY(api->Open(start));
  if (exec.tty) ResizeToOurs(*api, path);
  RelayEnd end = TRY(relay.Run(std::move(stream.connection).Hijack()));
  if (end == RelayEnd::kDetached) return MakeError(ErrorKind::kCancelled, "read escape sequence");
  Json state = TRY(api->Get(path + "/json"));
  return static_cast<int>(state["ExitCode"].AsInt());
}

}  // namespace

Result<int> ExecCommand(Cli& cli, Invocation& call) {
  ExecFlags exec;
  call.flags.Bool("detach", 'd', &exec.detach, "Run the command in the background");
  call.flags.Bool("interactive", 'i', &exec.interactive, "Keep standard input open");
  call.flags.Bool("tty", 't', &exec.tty, "Give the command a terminal");
  call.flags.Bool("privileged", 0, &exec.privileged, "Give the command all capabilities");
  call.flags.String("detach-keys", 0, &exec.detach_keys, "Keys that detach from the command");
  call.flags.String("user", 'u', &exec.user, "User, \"name|uid[:group|gid]\"");
  call.flags.String("workdir", 'w', &exec.workdir, "Working directory in the container");
  call.flags.List("env", 'e', &exec.env, "Set environment variables");
  call.flags.List("env-file", 0, &exec.env_files, "Read environment variables from a file");
  if (auto code = call.Parse(ArgCount::AtLeast(2), Flags::Order::kBeforeArgs)) return *code;
  if (!exec.detach) TRY(CheckInputTerminal(exec.interactive, exec.tty));
  exec.detach_keys = TRY(DetachKeysOf(cli, exec.detach_keys));
  Api* api = TRY(cli.Connect());
  Json created =
      TRY(api->Post(ContainerPath(call.args()[0], "/exec"), {}, TRY(ExecBody(exec, call.args()))));
  const std::string& id = created["Id"].AsString();
  if (id.empty()) return Internal("exec ID empty");
  if (!exec.detach) return ExecAttached(api, id, exec);
  TRY(api->Post("/exec/" + id + "/start", {},
                Json::MakeObject({{"Detach", true}, {"Tty", exec.tty}})));
  return 0;
}

}  // namespace gantry::cli
