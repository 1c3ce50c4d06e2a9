// SPDX-License-Identifier: Apache-2.0
//
// gantry builder history: ls, inspect, logs, rm; what was built, over BuildKit's API.
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "base/number.h"
#include "build_client/display.h"
#include "build_client/graph.h"
#include "cmd/gantry/build_connection.h"
#include "cmd/gantry/command_list.h"
#include "cmd/gantry/listing.h"
#include "cmd/gantry/output.h"
#include "formats/protobuf_wire.h"

namespace gantry::cli {
namespace {

namespace api = plain::moby::buildkit::v1;
using Record = api::BuildHistoryRecord;

constexpr const char* kListen = "/moby.buildkit.v1.Control/ListenBuildHistory";
constexpr const char* kUpdate = "/moby.buildkit.v1.Control/UpdateBuildHistory";
constexpr const char* kStatus = "/moby.buildkit.v1.Control/Status";

WallTime TimeOf(const std::optional<formats::ProtoTimestamp>& time) {
  return time ? time->ToWallTime() : WallTime();
}

// The newest first.
Result<std::vector<Record>> ListRecords(Cli& cli) {
  api::BuildHistoryRequest request;
  request.EarlyExit = true;
  std::vector<Record> records;
  Api* engine = TRY(cli.Connect());
  TRY(build_client::CallForStream(TRY(ConnectBuildKit(engine)), kListen, request.Encode(),
                                  [&](std::string_view message) -> Result<> {
                                    auto event = TRY(api::BuildHistoryEvent::Decode(message));
                                    if (event.record) records.push_back(*std::move(event.record));
                                    return {};
                                  }));
  std::sort(records.begin(), records.end(), [](const Record& a, const Record& b) {
    return TimeOf(a.CreatedAt) > TimeOf(b.CreatedAt);
  });
  return records;
}

// "": the newest; "^2": two before it; else a reference or its beginning.
Result<Record> FindRecord(const std::vector<Record>& records, const std::string& text) {
  if (text.empty() || text.starts_with('^')) {
    auto back = text.size() > 1 ? ParseNumber<size_t>(std::string_view(text).substr(1))
                                : std::optional<size_t>(0);
    if (!back) return InvalidArgument("invalid offset: {}", text);
    if (*back < records.size()) return records[*back];
    return NotFound("no build history records found");
  }
  std::vector<const Record*> found;
  for (const Record& record : records) {
    if (record.Ref == text) return record;
    if (record.Ref.starts_with(text)) found.push_back(&record);
  }
  if (found.empty()) return NotFound("no record found for ref {}", text);
  if (found.size() > 1) return InvalidArgument("{} is the beginning of several builds", text);
  return *found[0];
}

std::string Attribute(const Record& record, const std::string& key) {
  auto found = record.FrontendAttrs.find(key);
  return found == record.FrontendAttrs.end() ? "" : found->second;
}

std::string ContextOf(const Record& record) {
  std::string remote = Attribute(record, "context");
  return remote.empty() ? Attribute(record, "vcs:localdir:context") : remote;
}

std::string NameOf(const Record& record) {
  std::string context = ContextOf(record);
  std::string name = context.substr(context.rfind('/') + 1);
  std::string file = Attribute(record, "filename");
  if (!file.empty() && file != "Dockerfile") name += (name.empty() ? "" : "/") + file;
  std::string target = Attribute(record, "target");
  if (!target.empty()) name += fmt::format("{}({})", name.empty() ? "" : " ", target);
  return name;
}

std::string StatusOf(const Record& record) {
  if (!record.CompletedAt) return "Running";
  if (!record.error) return "Completed";
  return record.error->code == static_cast<int>(ErrorKind::kCancelled) ? "Canceled" : "Error";
}

std::string DurationOf(const Record& record) {
  WallTime end = record.CompletedAt ? TimeOf(record.CompletedAt) : WallTime(WallClock::now());
  return build_client::Seconds(end - TimeOf(record.CreatedAt));
}

Json RowOf(const Record& record) {
  int64_t created = UnixNanos(TimeOf(record.CreatedAt)) / 1'000'000'000;
  return Json::MakeObject(
      {{"Ref", record.Ref},
       {"Name", NameOf(record)},
       {"Status", StatusOf(record)},
       {"CreatedAt", Ago(created)},
       {"Duration", DurationOf(record)},
       {"Steps", fmt::format("{}/{}", record.numCompletedSteps, record.numTotalSteps)},
       {"CachedSteps", std::to_string(record.numCachedSteps)},
       {"Pinned", record.pinned}});
}

std::string InspectText(const Record& record) {
  std::string text;
  auto line = [&](std::string_view name, const std::string& value) {
    if (!value.empty()) text += fmt::format("{:<16}{}\n", fmt::format("{}:", name), value);
  };
  line("Name", NameOf(record));
  line("Context", ContextOf(record));
  line("Dockerfile", Attribute(record, "filename"));
  line("Target", Attribute(record, "target"));
  text += "\n";
  line("Started", LocalTime(UnixNanos(TimeOf(record.CreatedAt)) / 1'000'000'000));
  line("Duration", DurationOf(record));
  line("Build Steps",
       fmt::format(
           "{}/{} ({}% cached)", record.numCompletedSteps, record.numTotalSteps,
           record.numTotalSteps == 0 ? 0 : record.numCachedSteps * 100 / record.numTotalSteps));
  line("Status", StatusOf(record));
  if (record.error) line("Error", record.error->message);
  std::string arguments;
  for (const auto& [key, value] : record.FrontendAttrs) {
    constexpr std::string_view kArgument = "build-arg:";
    if (key.starts_with(kArgument)) {
      arguments += fmt::format("{}\t{}\n", key.substr(kArgument.size()), value);
    }
  }
  if (!arguments.empty()) text += "\nBUILD ARG\tVALUE\n" + arguments;
  // Of several platforms there is no one id.
  auto digest = record.ExporterResponse.find("containerimage.config.digest");
  if (digest == record.ExporterResponse.end()) {
    digest = record.ExporterResponse.find("containerimage.digest");
  }
  if (digest != record.ExporterResponse.end()) {
    text += "\n";
    line("Image", digest->second);
  }
  return text;
}

// What a user names, or the newest.
Result<Record> RecordOf(Cli& cli, Invocation& call) {
  return FindRecord(TRY(ListRecords(cli)), call.args().empty() ? "" : call.args()[0]);
}

}  // namespace

Result<int> BuildHistoryListCommand(Cli& cli, Invocation& call) {
  bool quiet = false;
  bool whole = false;
  std::string format;
  call.flags.String("format", 0, &format, "Form of the list (table, json, a template)");
  call.flags.Bool("no-trunc", 0, &whole, "Don't shorten names");
  call.flags.Bool("quiet", 'q', &quiet, "Only the builds' references");
  if (auto code = call.Parse(ArgCount::None())) return *code;
  ListingSpec spec;
  spec.default_table = "{{.Ref}}\t{{.Name}}\t{{.Status}}\t{{.CreatedAt}}\t{{.Duration}}";
  spec.default_quiet = "{{.Ref}}";
  spec.headers = Json::MakeObject({{"Ref", "BUILD ID"},
                                   {"Name", "NAME"},
                                   {"Status", "STATUS"},
                                   {"CreatedAt", "CREATED AT"},
                                   {"Duration", "DURATION"},
                                   {"Steps", "STEPS"},
                                   {"CachedSteps", "CACHED"},
                                   {"Pinned", "PINNED"}});
  spec.root_type = "history.lsContext";
  Listing listing = TRY(Listing::Create(std::move(spec), format, quiet));
  std::vector<Json> rows;
  for (const Record& record : TRY(ListRecords(cli))) {
    Json row = RowOf(record);
    if (!whole) row.Set("Name", Ellipsis(row["Name"].AsString(), 36));
    rows.push_back(std::move(row));
  }
  Print("{}", TRY(listing.Format(rows)));
  return 0;
}

Result<int> BuildHistoryInspectCommand(Cli& cli, Invocation& call) {
  std::string format;
  call.flags.String("format", 'f', &format, "Form of the record (pretty, json, a template)");
  if (auto code = call.Parse(ArgCount::AtMost(1))) return *code;
  Record record = TRY(RecordOf(cli, call));
  if (format.empty() || format == "pretty") {
    Print("{}", InspectText(record));
    return 0;
  }
  auto parsed = TRY(ParseFormat(format));
  Json row = RowOf(record);
  row.Set("CreatedAt", FormatRfc3339Nano(TimeOf(record.CreatedAt)));
  Json attributes = Json::MakeObject();
  for (const auto& [key, value] : record.FrontendAttrs) attributes.Set(key, value);
  row.Set("FrontendAttrs", std::move(attributes));
  row.Set("Error", record.error ? record.error->message : "");
  Print("{}\n", TRY(parsed.Execute(row)));
  return 0;
}

Result<int> BuildHistoryLogsCommand(Cli& cli, Invocation& call) {
  std::string progress = "plain";
  call.flags.String("progress", 0, &progress, "Form of the progress (plain, rawjson)");
  if (auto code = call.Parse(ArgCount::AtMost(1))) return *code;
  auto display = TRY(build_client::MakeDisplay({progress, BorrowedFd(STDERR_FILENO), false}));
  Record record = TRY(RecordOf(cli, call));
  api::StatusRequest request;
  request.Ref = record.Ref;
  build_client::Graph graph;
  Api* engine = TRY(cli.Connect());
  TRY(build_client::CallForStream(TRY(ConnectBuildKit(engine)), kStatus, request.Encode(),
                                  [&](std::string_view message) -> Result<> {
                                    auto update = TRY(api::StatusResponse::Decode(message));
                                    graph.Take(update);
                                    display->Take(graph, update);
                                    return {};
                                  }));
  display->End(graph);
  if (progress != "rawjson") PrintErrorText(graph.FailureText());
  return 0;
}

Result<int> BuildHistoryRmCommand(Cli& cli, Invocation& call) {
  bool all = false;
  call.flags.Bool("all", 0, &all, "Remove the records of all builds");
  if (auto code = call.Parse(ArgCount::AtLeast(0))) return *code;
  if (all != call.args().empty()) {
    return InvalidArgument("name the builds whose records go, or --all");
  }
  std::vector<Record> records = TRY(ListRecords(cli));
  std::vector<Record> chosen;
  for (const std::string& name : call.args()) chosen.push_back(TRY(FindRecord(records, name)));
  if (all) {
    std::copy_if(records.begin(), records.end(), std::back_inserter(chosen),
                 [](const Record& record) { return record.CompletedAt.has_value(); });
  }
  Api* engine = TRY(cli.Connect());
  for (const Record& record : chosen) {
    api::UpdateBuildHistoryRequest request;
    request.Ref = record.Ref;
    request.Delete = true;
    TRY(build_client::CallOnce(TRY(ConnectBuildKit(engine)), kUpdate, request.Encode()));
    Print("{}\n", record.Ref);
  }
  return 0;
}

}  // namespace gantry::cli
