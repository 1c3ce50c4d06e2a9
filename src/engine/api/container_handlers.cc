// SPDX-License-Identifier: Apache-2.0
#include "engine/api/container_handlers.h"

#include <utility>

#include "engine/api/container_json.h"
#include "engine/api/create_shaping.h"
#include "engine/api/filters.h"
#include "engine/api/image_list.h"
#include "engine/container_names.h"
#include "engine/explain.h"
#include "engine/top.h"

namespace gantry::engine::api {
namespace {

using formats::Json;

// Seconds of the `t` parameter; unset when it is missing.
Result<std::optional<int64_t>> StopTimeout(Call& call) {
  if (call.query().Get("t").empty()) return std::optional<int64_t>();
  return std::optional<int64_t>(TRY(IntParameter(call, "t", 0)));
}

// How stop and restart end the process: with the container's own signal before API 1.42.
std::string_view StopSignal(const Call& call) {
  return call.minor < 42 ? std::string_view() : call.query().Get("signal");
}

Result<> RespondOutcome(Call& call, Engine::Outcome outcome) {
  return RespondEmpty(call, outcome == Engine::Outcome::kAlreadySo ? 304 : 204);
}

// A command that is missing or can't be executed is the client's mistake: 400, as dockerd has it;
// the clients read the exit code (127, 126) from the text.
Error BlameCommand(Error error) {
  for (const char* words : {"executable file not found", "no such file or directory",
                            "permission denied", "not a directory", "is a directory"}) {
    bool fits = error.message().find(words) != std::string::npos;
    if (fits && StatusOf(error) == 500) error.SetKind(ErrorKind::kInvalidArgument);
  }
  return error;
}

}  // namespace

Result<> CreateContainer(Call& call) {
  Json body = TRY(ReadJsonBody(call));
  if (body.is_null()) return InvalidArgument("invalid JSON: EOF");
  if (!body.is_object()) return InvalidArgument("the body of the request is no JSON object");
  CreateRequest request = TRY(ParseCreateRequest(body));
  request.read_only_non_recursive = call.minor < 44;
  request.platform = call.query().Get("platform");
  Warnings shaped = TRY(ShapeCreate(call.minor, call.engine().unified_cgroups(), &request));
  Engine::Created created =
      TRY(call.engine().CreateContainer(std::string(call.query().Get("name")), std::move(request)));
  created.warnings.insert(created.warnings.end(), shaped.begin(), shaped.end());
  return RespondJson(call, 201,
                     Json::MakeObject({{"Id", created.id}, {"Warnings", created.warnings}}));
}

Result<> PruneContainers(Call& call) {
  Filters filters = TRY(Filters::Parse(call.query().Get("filters")));
  TRY(filters.CheckKeys({"label", "label!", "until"}));
  std::optional<WallTime> until = TRY(UntilFilter(filters));
  int64_t reclaimed = 0;
  Json deleted;
  for (const auto& record : call.engine().List()) {
    Phase phase = record->state.phase;
    if (phase != Phase::kCreated && phase != Phase::kExited && phase != Phase::kDead) continue;
    if (record->for_build) continue;  // a build that runs is about to take its layer
    if (!filters.MatchLabels("label", record->config.labels)) continue;
    if (filters.Has("label!") && filters.MatchLabels("label!", record->config.labels)) continue;
    if (until && record->created > *until) continue;
    Result<client::SnapshotUsage> usage = call.engine().containerd().GetSnapshotUsage(
        call.engine().options().snapshotter, record->id);
    if (!call.engine().Remove(record->id, {}).ok()) continue;
    deleted.Append(record->id);
    reclaimed += usage.ok() ? usage->size : 0;
  }
  Event pruned;
  pruned.type = "container";
  pruned.action = "prune";
  pruned.attributes = {{"reclaimed", std::to_string(reclaimed)}};
  call.engine().Publish(std::move(pruned));
  return RespondJson(
      call, 200, Json::MakeObject({{"ContainersDeleted", deleted}, {"SpaceReclaimed", reclaimed}}));
}

Result<> InspectContainer(Call& call) {
  auto container = TRY(call.engine().Find(call.arg()));
  Container::RecordPointer record = container->record();
  Json out = InspectDocument(call.engine(), *record, call.parts.execs.IdsOf(record->id));
  if (call.query().GetBool("size")) AddSizes(call.engine(), *record, &out);
  return RespondJson(call, 200, out);
}

Result<> TopContainer(Call& call) {
  auto container = TRY(call.engine().Find(call.arg()));
  Container::RecordPointer record = container->record();
  if (!record->state.IsAlive()) {
    return Conflict(fmt::format("Container {} is not running", record->id));
  }
  ProcessTable table = TRY(ListProcesses(call.engine(), *record, call.query().Get("ps_args")));
  call.engine().Publish("top", *record);
  Json rows = Json::MakeArray();
  for (const auto& row : table.rows) rows.Append(row);
  return RespondJson(call, 200, Json::MakeObject({{"Processes", rows}, {"Titles", table.titles}}));
}

Result<> RefuseCheckpoint(Call& call) {
  if (call.engine().settings()->experimental) {
    return Unimplemented("checkpoints are not supported by this engine");
  }
  return Unimplemented(
      "This experimental feature is disabled by default. Start the Docker daemon in experimental "
      "mode in order to enable it.");
}

Result<> ExplainContainer(Call& call) {
  auto container = TRY(call.engine().Find(call.arg()));
  return RespondJson(call, 200, TRY(engine::ExplainContainer(call.engine(), *container->record())));
}

// By the whole id: the container may be gone already.
Result<> TraceContainer(Call& call) {
  std::string id(call.arg());
  auto container = call.engine().Find(id);
  if (container.ok()) id = (*container)->id();
  std::vector<TraceStep> trace = call.engine().start_traces().Of(id);
  if (trace.empty() && !container.ok()) return std::move(container).error();
  Json steps = Json::MakeArray();
  for (const TraceStep& step : trace) {
    steps.Append(Json::MakeObject({{"Process", step.process},
                                   {"Pid", step.pid},
                                   {"Begin", step.begin},
                                   {"End", step.end},
                                   {"Step", step.name}}));
  }
  return RespondJson(call, 200, Json::MakeObject({{"Id", id}, {"Steps", std::move(steps)}}));
}

Result<> StartContainer(Call& call) {
  // "{}" and the like have always been let through.
  constexpr uint64_t kEmptyBody = 7;
  if (call.exchange.request().content_length > kEmptyBody) {
    return InvalidArgument(
        "starting container with non-empty request body was deprecated since API v1.22 and removed "
        "in v1.24");
  }
  const std::string checkpoint(call.query().Get("checkpoint"));
  if (!checkpoint.empty()) {
    if (!call.engine().settings()->experimental) {
      return InvalidArgument("checkpoint is only supported in experimental mode");
    }
    if (!CheckContainerName(checkpoint).ok() || checkpoint.ends_with('.')) {
      return InvalidArgument(
          "invalid checkpoint ID \"{}\", only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed", checkpoint);
    }
    return InvalidArgument("checkpoints are not supported by this engine");
  }
  Result<Engine::Outcome> outcome = call.engine().Start(call.arg());
  if (!outcome.ok()) return BlameCommand(std::move(outcome).error());
  return RespondOutcome(call, *outcome);
}

Result<> StopContainer(Call& call) {
  auto timeout = TRY(StopTimeout(call));
  return RespondOutcome(call, TRY(call.engine().Stop(call.arg(), timeout, StopSignal(call))));
}

Result<> RestartContainer(Call& call) {
  auto timeout = TRY(StopTimeout(call));
  TRY(call.engine().Restart(call.arg(), timeout, StopSignal(call)));
  return RespondEmpty(call);
}

Result<> KillContainer(Call& call) {
  TRY(call.engine().Kill(call.arg(), call.query().Get("signal")));
  return RespondEmpty(call);
}

Result<> PauseContainer(Call& call) {
  TRY(call.engine().Pause(call.arg()));
  return RespondEmpty(call);
}

Result<> UnpauseContainer(Call& call) {
  TRY(call.engine().Unpause(call.arg()));
  return RespondEmpty(call);
}

Result<> ResizeContainer(Call& call) {
  uint32_t height = TRY(SizeParameter(call, "h", "height"));
  uint32_t width = TRY(SizeParameter(call, "w", "width"));
  TRY(call.engine().Resize(call.arg(), width, height));
  return RespondEmpty(call, 200);
}

Result<> RenameContainer(Call& call) {
  TRY(call.engine().Rename(call.arg(), call.query().Get("name")));
  return RespondEmpty(call);
}

Result<> UpdateContainer(Call& call) {
  Json body = TRY(ReadJsonBody(call));
  if (call.minor < 40) body.Erase("PidsLimit");
  if (call.minor < 55) {
    for (const char* devices : {"BlkioWeightDevice", "BlkioDeviceReadBps", "BlkioDeviceWriteBps",
                                "BlkioDeviceReadIOps", "BlkioDeviceWriteIOps"}) {
      body.Erase(devices);
    }
  }
  std::vector<std::string> warnings = TRY(call.engine().Update(call.arg(), body));
  return RespondJson(call, 200, Json::MakeObject({{"Warnings", warnings}}));
}

Result<> RemoveContainer(Call& call) {
  if (call.query().GetBool("link")) {
    TRY(call.engine().RemoveLink(call.arg()));
    return RespondEmpty(call);
  }
  Engine::RemoveOptions options;
  options.force = call.query().GetBool("force");
  options.volumes = call.query().GetBool("v");
  TRY(call.engine().Remove(call.arg(), options));
  return RespondEmpty(call);
}

}  // namespace gantry::engine::api
