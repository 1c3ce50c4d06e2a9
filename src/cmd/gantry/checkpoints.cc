// SPDX-License-Identifier: Apache-2.0
//
// gantry checkpoint: create, ls, rm. An engine without experimental features has none.
#include "cmd/gantry/command_list.h"
#include "cmd/gantry/container_calls.h"
#include "cmd/gantry/output.h"
#include "cmd/gantry/table.h"

namespace gantry::cli {
namespace {

std::string CheckpointsPath(std::string_view container, std::string_view checkpoint = "") {
  return ContainerPath(container, fmt::format("/checkpoints{}{}", checkpoint.empty() ? "" : "/",
                                              wire::PercentEncode(checkpoint)));
}

void BindDirectory(Flags* flags, std::string* directory) {
  flags->String("checkpoint-dir", 0, directory, "Where checkpoints are kept");
}

}  // namespace

Result<int> CheckpointCreateCommand(Cli& cli, Invocation& call) {
  std::string directory;
  bool leave_running = false;
  BindDirectory(&call.flags, &directory);
  call.flags.Bool("leave-running", 0, &leave_running, "Let the container run on");
  if (auto code = call.Parse(ArgCount::Exactly(2))) return *code;
  Json body = Json::MakeObject(
      {{"CheckpointID", call.args()[1]}, {"CheckpointDir", directory}, {"Exit", !leave_running}});
  Api* api = TRY(cli.Connect());
  TRY(api->RequireExperimental(call.Name()));
  TRY(api->Post(CheckpointsPath(call.args()[0]), {}, std::move(body)));
  Print("{}\n", call.args()[1]);
  return 0;
}

Result<int> CheckpointListCommand(Cli& cli, Invocation& call) {
  std::string directory;
  BindDirectory(&call.flags, &directory);
  if (auto code = call.Parse(ArgCount::Exactly(1))) return *code;
  wire::Query query;
  if (!directory.empty()) query.Add("dir", directory);
  Api* api = TRY(cli.Connect());
  TRY(api->RequireExperimental(call.Name()));
  Json checkpoints = TRY(api->Get(CheckpointsPath(call.args()[0]), query));
  Table table({.minimum_width = 20});
  table.AddRow({"CHECKPOINT NAME"});
  for (const Json& checkpoint : checkpoints.items()) table.AddRow({checkpoint["Name"].AsString()});
  PrintText(table.Format());
  return 0;
}

Result<int> CheckpointRmCommand(Cli& cli, Invocation& call) {
  std::string directory;
  BindDirectory(&call.flags, &directory);
  if (auto code = call.Parse(ArgCount::Exactly(2))) return *code;
  ApiRequest request;
  request.method = "DELETE";
  request.path = CheckpointsPath(call.args()[0], call.args()[1]);
  if (!directory.empty()) request.query.Add("dir", directory);
  Api* api = TRY(cli.Connect());
  TRY(api->RequireExperimental(call.Name()));
  TRY(api->Call(request));
  return 0;
}

}  // namespace gantry::cli
