// SPDX-License-Identifier: Apache-2.0
//
// gantry update: limits, restart policy and published ports of containers that exist.
#include "cmd/gantry/command_list.h"
#include "cmd/gantry/container_calls.h"
#include "cmd/gantry/output.h"
#include "cmd/gantry/port_spec.h"
#include "cmd/gantry/resource_flags.h"
#include "cmd/gantry/value_spec.h"

namespace gantry::cli {

Result<int> UpdateCommand(Cli& cli, Invocation& call) {
  NumberFields numbers;
  std::string cpus, mems, restart;
  Flags& flags = call.flags;
  BindResourceNumbers(&flags, ResourceFlags::kOfUpdate, &numbers);
  flags.String("cpuset-cpus", 0, &cpus, "Processors to run on, such as 0-3 or 0,1");
  flags.String("cpuset-mems", 0, &mems, "Memory nodes to use, such as 0-3 or 0,1");
  flags.String("restart", 0, &restart,
               "When to start it again: no, always, unless-stopped, on-failure[:max]");
  std::vector<std::string> publish, unpublish;
  flags.List("publish-add", 0, &publish, "Publish one more port, as run's -p");
  flags.List("publish-rm", 0, &unpublish, "Publish a port no more");
  if (auto code = call.Parse(ArgCount::AtLeast(1))) return *code;

  Json body = Json::MakeObject();
  for (const auto& [field, value] : numbers) body.Set(field, value);
  if (!cpus.empty()) body.Set("CpusetCpus", cpus);
  if (!mems.empty()) body.Set("CpusetMems", mems);
  if (!restart.empty()) body.Set("RestartPolicy", TRY(ParseRestartPolicy(restart)));
  if (!publish.empty() || !unpublish.empty()) {
    Json exposed = Json::MakeObject(), added = Json::MakeObject(), removed = Json::MakeObject();
    for (const std::string& spec : publish) TRY(AddPublished(spec, &exposed, &added));
    for (const std::string& spec : unpublish) TRY(AddPublished(spec, &exposed, &removed));
    body.Set("GantryPublish", Json::MakeObject({{"Add", added}, {"Remove", removed}}));
  }
  if (body.size() == 0 && !flags.Changed("kernel-memory")) {
    return InvalidArgument("you must provide one or more flags when using this command");
  }
  Api* api = TRY(cli.Connect());
  int code = 0;
  std::vector<std::string> warnings;
  for (const std::string& name : call.args()) {
    Result<Json> answer = api->Post(ContainerPath(name, "/update"), {}, body);
    if (!answer.ok()) {
      PrintError("{}\n", answer.error().message());
      code = 1;
      continue;
    }
    Print("{}\n", name);
    for (const Json& warning : (*answer)["Warnings"].items()) {
      warnings.push_back(warning.AsString());
    }
  }
  for (const std::string& warning : warnings) Print("{}\n", warning);
  return code;
}

}  // namespace gantry::cli
