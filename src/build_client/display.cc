// SPDX-License-Identifier: Apache-2.0
#include "build_client/display.h"

#include "base/io.h"
#include "base/log.h"
#include "formats/base64.h"
#include "formats/json.h"
#include "kernel/terminal.h"

namespace gantry::build_client {
namespace {

using formats::Json;

void SetTime(const char* key, const std::optional<formats::ProtoTimestamp>& time, Json* json) {
  if (time) json->Set(key, FormatRfc3339Nano(time->ToWallTime()));
}

void SetText(const char* key, const std::string& text, Json* json) {
  if (!text.empty()) json->Set(key, text);
}

Json ToJson(const api::Vertex& vertex) {
  Json json = Json::MakeObject({{"digest", vertex.digest}});
  if (!vertex.inputs.empty()) json.Set("inputs", Json(vertex.inputs));
  SetText("name", vertex.name, &json);
  SetTime("started", vertex.started, &json);
  SetTime("completed", vertex.completed, &json);
  if (vertex.cached) json.Set("cached", true);
  SetText("error", vertex.error, &json);
  return json;
}

Json ToJson(const api::VertexStatus& status) {
  Json json = Json::MakeObject({{"id", status.ID}, {"vertex", status.vertex}});
  SetText("name", status.name, &json);
  if (status.total != 0) json.Set("total", status.total);
  json.Set("current", status.current);
  SetTime("timestamp", status.timestamp, &json);
  SetTime("started", status.started, &json);
  SetTime("completed", status.completed, &json);
  return json;
}

Json ToJson(const api::VertexLog& log) {
  Json json = Json::MakeObject({{"vertex", log.vertex}});
  if (log.stream != 0) json.Set("stream", log.stream);
  json.Set("data", formats::EncodeBase64(log.msg));
  SetTime("timestamp", log.timestamp, &json);
  return json;
}

Json ToJson(const api::VertexWarning& warning) {
  Json json = Json::MakeObject({{"vertex", warning.vertex}});
  if (warning.level != 0) json.Set("level", warning.level);
  json.Set("short", formats::EncodeBase64(warning.summary));
  Json detail = Json::MakeArray();
  for (const std::string& line : warning.detail) detail.Append(formats::EncodeBase64(line));
  json.Set("detail", std::move(detail));
  SetText("url", warning.url, &json);
  if (warning.info) {
    json.Set("sourceInfo", Json::MakeObject({{"filename", warning.info->filename},
                                             {"data", formats::EncodeBase64(warning.info->data)},
                                             {"language", warning.info->language}}));
  }
  Json ranges = Json::MakeArray();
  for (const auto& range : warning.ranges) {
    if (!range.start || !range.end) continue;
    ranges.Append(Json::MakeObject({{"start", Json::MakeObject({{"line", range.start->line}})},
                                    {"end", Json::MakeObject({{"line", range.end->line}})}}));
  }
  json.Set("range", std::move(ranges));
  return json;
}

template <typename Message>
void SetList(const char* key, const std::vector<Message>& messages, Json* json) {
  if (messages.empty()) return;
  Json list = Json::MakeArray();
  for (const Message& message : messages) list.Append(ToJson(message));
  json->Set(key, std::move(list));
}

// One JSON object a line, BuildKit's SolveStatus.
class RawDisplay : public Display {
 public:
  explicit RawDisplay(BorrowedFd out) : out_(out) {}
  void Take(const Graph&, const api::StatusResponse& update) override {
    Json json = Json::MakeObject();
    SetList("vertexes", update.vertexes, &json);
    SetList("statuses", update.statuses, &json);
    SetList("logs", update.logs, &json);
    SetList("warnings", update.warnings, &json);
    Result<> written = WriteAll(out_, json.Dump() + "\n");
    if (!written.ok()) log::Debug("showing progress: {}", written.error().message());
  }

 private:
  BorrowedFd out_;
};

class QuietDisplay : public Display {
 public:
  void Take(const Graph&, const api::StatusResponse&) override {}
};

}  // namespace

std::string SizeText(int64_t bytes) {
  constexpr const char* kUnits[] = {"B", "kB", "MB", "GB", "TB"};
  auto value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1000 && unit + 1 < std::size(kUnits)) {
    value /= 1000;
    ++unit;
  }
  return unit == 0 ? fmt::format("{}B", bytes) : fmt::format("{:.2f}{}", value, kUnits[unit]);
}

Result<std::unique_ptr<Display>> MakeDisplay(const DisplayOptions& options) {
  std::string how = options.how;
  bool terminal = kernel::IsTerminal(options.out);
  if (how == "auto" || how.empty()) how = terminal ? "tty" : "plain";
  if (how == "plain") return MakePlainDisplay(options.out);
  if (how == "rawjson") return std::unique_ptr<Display>(new RawDisplay(options.out));
  if (how == "quiet" || how == "none") return std::unique_ptr<Display>(new QuietDisplay());
  if (how == "tty" && !terminal) return InvalidArgument("failed to get console: no terminal");
  if (how == "tty") return MakeTableDisplay(options.out, options.colors);
  return InvalidArgument("invalid progress type: \"{}\" (auto, plain, tty, rawjson, quiet)", how);
}

}  // namespace gantry::build_client
