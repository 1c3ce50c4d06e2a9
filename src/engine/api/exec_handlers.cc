// SPDX-License-Identifier: Apache-2.0
#include "engine/api/exec_handlers.h"

#include <utility>

#include "base/log.h"
#include "engine/api/hijack.h"

namespace gantry::engine::api {
namespace {

using formats::Json;
using formats::JsonReader;

constexpr int kConsoleSizeMinor = 42;

// "ConsoleSize": [height, width].
void ReadConsoleSize(const JsonReader& reader, uint32_t* width, uint32_t* height) {
  const Json* size = reader.Raw("ConsoleSize");
  if (size == nullptr || !size->is_array() || size->size() != 2) return;
  *height = static_cast<uint32_t>(size->at(0).AsUint() & 0xffff);
  *width = static_cast<uint32_t>(size->at(1).AsUint() & 0xffff);
}

}  // namespace

Result<> CreateExec(Call& call) {
  Json body = TRY(ReadJsonBody(call));
  ExecOptions options;
  JsonReader reader(body, "exec", JsonReader::Keys::kAnyCase);
  reader.Field("AttachStdin", &options.attach_stdin);
  reader.Field("AttachStdout", &options.attach_stdout);
  reader.Field("AttachStderr", &options.attach_stderr);
  reader.Field("DetachKeys", &options.detach_keys);
  reader.Field("Tty", &options.config.tty);
  reader.Field("Env", &options.config.env);
  reader.Field("Cmd", &options.config.cmd);
  reader.Field("Privileged", &options.config.privileged);
  reader.Field("User", &options.config.user);
  reader.Field("WorkingDir", &options.config.working_dir);
  TRY(reader.Finish());
  if (call.minor >= kConsoleSizeMinor) ReadConsoleSize(reader, &options.width, &options.height);
  std::string id = TRY(call.parts.execs.Create(call.arg(), std::move(options)));
  return RespondJson(call, 201, Json::MakeObject({{"Id", id}}));
}

Result<> StartExec(Call& call) {
  Json body = TRY(ReadJsonBody(call));
  if (body.is_null()) body = Json::MakeObject();
  bool detach = false;
  bool tty = false;
  JsonReader reader(body, "exec", JsonReader::Keys::kAnyCase);
  reader.Field("Detach", &detach);
  reader.Field("Tty", &tty);
  TRY(reader.Finish());
  uint32_t width = 0;
  uint32_t height = 0;
  if (tty && call.minor >= kConsoleSizeMinor) ReadConsoleSize(reader, &width, &height);
  if (detach) {
    TRY(call.parts.execs.Start(call.arg(), nullptr, width, height));
    return RespondEmpty(call, 200);
  }
  Exec exec = TRY(call.parts.execs.Find(call.arg()));
  const ExecOptions& options = exec.options;
  uint8_t streams = (options.attach_stdin ? kAttachStdin : 0) |
                    (options.attach_stdout ? kAttachStdout : 0) |
                    (options.attach_stderr ? kAttachStderr : 0);
  std::string keys = TRY(ParseDetachKeys(options.detach_keys));
  // The form of the stream is what this request says, whatever the exec was made with.
  wire::RelayForm form = tty ? wire::RelayForm::kRaw : wire::RelayForm::kFrames;
  auto take = [&]() -> Result<AttachRequest> {
    wire::Exchange::Raw raw = TRY(TakeConnection(call, tty));
    return AttachRequest{std::move(raw.socket), std::move(raw.received), streams, keys, form};
  };
  Execs::Started started = TRY(call.parts.execs.Start(exec.id, take, width, height));
  if (started.failed) log::Debug("exec: {}", started.failed->message());
  return {};
}

Result<> ResizeExec(Call& call) {
  uint32_t height = TRY(SizeParameter(call, "h", "height"));
  uint32_t width = TRY(SizeParameter(call, "w", "width"));
  TRY(call.parts.execs.Resize(call.arg(), width, height));
  return RespondEmpty(call, 200);
}

Result<> InspectExec(Call& call) {
  Exec exec = TRY(call.parts.execs.Find(call.arg()));
  const ExecConfig& config = exec.options.config;
  std::vector<std::string> arguments(config.cmd.begin() + 1, config.cmd.end());
  Json process = Json::MakeObject({{"tty", config.tty},
                                   {"entrypoint", config.cmd.front()},
                                   {"arguments", arguments},
                                   {"privileged", config.privileged}});
  if (!config.user.empty()) process.Set("user", config.user);
  return RespondJson(
      call, 200,
      Json::MakeObject({{"ID", exec.id},
                        {"Running", exec.running},
                        {"ExitCode", exec.exit_code ? Json(*exec.exit_code) : Json()},
                        {"ProcessConfig", process},
                        {"OpenStdin", exec.options.attach_stdin},
                        {"OpenStderr", exec.options.attach_stderr},
                        {"OpenStdout", exec.options.attach_stdout},
                        {"CanRemove", false},
                        {"ContainerID", exec.container_id},
                        {"DetachKeys", exec.options.detach_keys},
                        {"Pid", exec.pid}}));
}

}  // namespace gantry::engine::api
