// SPDX-License-Identifier: Apache-2.0
#include "engine/api/container_handlers.h"

#include <poll.h>

#include <algorithm>
#include <utility>

#include "base/stop_token.h"
#include "engine/api/container_json.h"
#include "engine/api/container_list.h"
#include "engine/api/filters.h"
#include "engine/explain.h"
#include "engine/stats.h"
#include "engine/top.h"

namespace gantry::engine::api {
namespace {

using formats::Json;

// Seconds of the `t` parameter; unset when it is missing.
Result<std::optional<int64_t>> StopTimeout(Call& call) {
  if (call.query().Get("t").empty()) return std::optional<int64_t>();
  return std::optional<int64_t>(TRY(IntParameter(call, "t", 0)));
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

Json Warnings(const std::vector<std::string>& warnings) { return Json(warnings); }

}  // namespace

Result<> ListContainers(Call& call) {
  Json out = TRY(ListMatching(call));
  return RespondJson(call, 200, out);
}

Result<> CreateContainer(Call& call) {
  Json body = TRY(ReadJsonBody(call));
  if (!body.is_object()) return InvalidArgument("the body of the request is no JSON object");
  CreateRequest request = TRY(ParseCreateRequest(body));
  Engine::Created created =
      TRY(call.engine().CreateContainer(std::string(call.query().Get("name")), std::move(request)));
  return RespondJson(
      call, 201, Json::MakeObject({{"Id", created.id}, {"Warnings", Warnings(created.warnings)}}));
}

Result<> PruneContainers(Call& call) {
  Filters filters = TRY(Filters::Parse(call.query().Get("filters")));
  TRY(filters.CheckKeys({"label", "label!", "until"}));
  if (filters.Has("until")) return Unimplemented("pruning by age is not implemented");
  Json deleted;
  for (const auto& record : call.engine().List()) {
    Phase phase = record->state.phase;
    if (phase != Phase::kCreated && phase != Phase::kExited && phase != Phase::kDead) continue;
    if (!filters.MatchLabels("label", record->config.labels)) continue;
    if (filters.Has("label!") && filters.MatchLabels("label!", record->config.labels)) continue;
    if (call.engine().Remove(record->id, {}).ok()) deleted.Append(record->id);
  }
  return RespondJson(call, 200,
                     Json::MakeObject({{"ContainersDeleted", deleted}, {"SpaceReclaimed", 0}}));
}

Result<> InspectContainer(Call& call) {
  auto container = TRY(call.engine().Find(call.arg()));
  Container::RecordPointer record = container->record();
  Json out = InspectDocument(call.engine(), *record, call.parts.execs.IdsOf(record->id));
  if (call.query().GetBool("size")) {
    Result<client::SnapshotUsage> usage = call.engine().containerd().GetSnapshotUsage(
        call.engine().options().snapshotter, record->id);
    out.Set("SizeRw", usage.ok() ? usage->size : 0);
  }
  return RespondJson(call, 200, out);
}

Result<> TopContainer(Call& call) {
  auto container = TRY(call.engine().Find(call.arg()));
  Container::RecordPointer record = container->record();
  if (!record->state.IsAlive()) {
    return Conflict(fmt::format("Container {} is not running", record->id));
  }
  ProcessTable table = TRY(ListProcesses(call.engine(), *record, call.query().Get("ps_args")));
  Json rows = Json::MakeArray();
  for (const auto& row : table.rows) rows.Append(row);
  return RespondJson(call, 200, Json::MakeObject({{"Processes", rows}, {"Titles", table.titles}}));
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
  Result<Engine::Outcome> outcome = call.engine().Start(call.arg());
  if (!outcome.ok()) return BlameCommand(std::move(outcome).error());
  return RespondOutcome(call, *outcome);
}

Result<> StopContainer(Call& call) {
  auto timeout = TRY(StopTimeout(call));
  return RespondOutcome(call,
                        TRY(call.engine().Stop(call.arg(), timeout, call.query().Get("signal"))));
}

Result<> RestartContainer(Call& call) {
  auto timeout = TRY(StopTimeout(call));
  TRY(call.engine().Restart(call.arg(), timeout, call.query().Get("signal")));
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
  int64_t height = TRY(IntParameter(call, "h", 0));
  int64_t width = TRY(IntParameter(call, "w", 0));
  if (height < 0 || height > UINT16_MAX || width < 0 || width > UINT16_MAX) {
    return InvalidArgument("invalid terminal size {}x{}", width, height);
  }
  TRY(call.engine().Resize(call.arg(), static_cast<uint32_t>(width),
                           static_cast<uint32_t>(height)));
  return RespondEmpty(call, 200);
}

Result<> RenameContainer(Call& call) {
  TRY(call.engine().Rename(call.arg(), call.query().Get("name")));
  return RespondEmpty(call);
}

Result<> UpdateContainer(Call& call) {
  Json body = TRY(ReadJsonBody(call));
  std::vector<std::string> warnings = TRY(call.engine().Update(call.arg(), body));
  return RespondJson(call, 200, Json::MakeObject({{"Warnings", Warnings(warnings)}}));
}

Result<> RemoveContainer(Call& call) {
  if (call.query().GetBool("link")) return Unimplemented("links are not implemented");
  Engine::RemoveOptions options;
  options.force = call.query().GetBool("force");
  options.volumes = call.query().GetBool("v");
  TRY(call.engine().Remove(call.arg(), options));
  return RespondEmpty(call);
}

Result<> GetStats(Call& call) {
  auto container = TRY(call.engine().Find(call.arg()));
  bool stream = call.query().GetBool("stream", true);
  bool one_shot = call.query().GetBool("one-shot");
  wire::Exchange& exchange = call.exchange;
  exchange.headers().Set("Content-Type", "application/json");
  Json before = Json();
  for (bool first = true;; first = false) {
    Json now = TRY(SampleStats(*container->record()));
    bool whole = !first || one_shot || stream;
    if (whole) {
      now.Set("precpu_stats", before.is_null() ? Json(Json::MakeObject()) : before["cpu_stats"]);
      now.Set("preread", before.is_null() ? Json(TimeText({})) : before["read"]);
      if (!exchange.begun()) TRY(exchange.Begin(200));
      TRY(exchange.Write(now.Dump() + "\n"));
      if (!stream) return exchange.Finish();
      if (!container->record()->state.IsAlive()) return exchange.Finish();
    }
    before = std::move(now);
    // The client's end, or a second.
    Result<> gone = WaitFor(exchange.socket(), POLLRDHUP, std::chrono::seconds(1));
    if (gone.ok()) return Unavailable("the client has hung up");
  }
}

}  // namespace gantry::engine::api
