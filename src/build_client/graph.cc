// SPDX-License-Identifier: Apache-2.0
#include "build_client/graph.h"

#include <algorithm>

#include "base/text.h"
#include "dockerfile/source_text.h"
#include "formats/base64.h"
#include "formats/json.h"
#include "google/rpc/status.plain.h"

namespace gantry::build_client {
namespace {

constexpr size_t kTailLines = 10;
// How BuildKit calls a place in a source.
constexpr std::string_view kSourceUrl = "github.com/moby/buildkit/errdefs.Source+json";

std::optional<WallTime> TimeOf(const std::optional<formats::ProtoTimestamp>& time) {
  if (!time) return std::nullopt;
  return time->ToWallTime();
}

double SecondsOf(std::chrono::nanoseconds time) {
  return std::chrono::duration<double>(std::max(time, time.zero())).count();
}

}  // namespace

std::string Seconds(std::chrono::nanoseconds time) {
  return fmt::format("{:.1f}s", SecondsOf(time));
}

std::string TimedLine(const Step& step, WallTime when, std::string_view text) {
  if (!step.started) return std::string(text);
  double seconds = SecondsOf(when - *step.started);
  int digits = seconds < 10 ? 3 : seconds < 100 ? 2 : 1;
  return fmt::format("{:.{}f} {}", seconds, digits, text);
}

bool Step::WasCancelled() const {
  return error.ends_with("cancelled") || error.ends_with("canceled");
}

const Step* Graph::Find(const std::string& digest) const {
  auto index = IndexOf(digest);
  return index ? &steps_[*index] : nullptr;
}

std::optional<size_t> Graph::IndexOf(const std::string& digest) const {
  auto found = by_digest_.find(digest);
  if (found == by_digest_.end()) return std::nullopt;
  return found->second;
}

void Graph::Take(const api::StatusResponse& update) {
  for (const api::Vertex& vertex : update.vertexes) {
    auto [found, is_new] = by_digest_.try_emplace(vertex.digest, steps_.size());
    if (is_new) steps_.emplace_back().digest = vertex.digest;
    Step& step = steps_[found->second];
    step.name = vertex.name;
    step.cached = step.cached || vertex.cached;
    step.error = vertex.error;
    if (vertex.started) step.started = TimeOf(vertex.started);
    step.completed = TimeOf(vertex.completed);
  }
  for (const api::VertexStatus& status : update.statuses) {
    auto index = IndexOf(status.vertex);
    if (!index) continue;
    std::vector<Part>& parts = steps_[*index].parts;
    auto at = std::find_if(parts.begin(), parts.end(),
                           [&](const Part& part) { return part.id == status.ID; });
    if (at == parts.end()) at = parts.insert(parts.end(), Part{.id = status.ID});
    at->current = status.current;
    at->total = status.total;
    at->started = TimeOf(status.started);
    at->completed = TimeOf(status.completed);
    if (status.timestamp) at->told = status.timestamp->ToWallTime();
  }
  for (const api::VertexLog& log : update.logs) TakeLog(log);
  for (const api::VertexWarning& warning : update.warnings) warnings_.push_back(warning.summary);
}

void Graph::TakeLog(const api::VertexLog& log) {
  auto index = IndexOf(log.vertex);
  if (!index) return;
  Step& step = steps_[*index];
  step.line += log.msg;
  WallTime when = log.timestamp ? log.timestamp->ToWallTime() : WallTime();
  for (size_t end; (end = step.line.find('\n')) != std::string::npos;) {
    step.tail.push_back(TimedLine(step, when, std::string_view(step.line).substr(0, end)));
    step.line.erase(0, end + 1);
    if (step.tail.size() > kTailLines) step.tail.pop_front();
  }
}

std::string Graph::WarningText() const {
  if (warnings_.empty()) return "";
  std::string out = fmt::format("\n {} warning{} found (--check shows the lines):\n",
                                warnings_.size(), warnings_.size() == 1 ? "" : "s");
  for (const std::string& warning : warnings_) out += fmt::format(" - {}\n", warning);
  return out;
}

Result<> Graph::TakePlaces(std::string_view details) {
  if (details.empty()) return {};
  auto status =
      TRY(formats::ProtoDecode<plain::google::rpc::Status>(TRY(formats::DecodeBase64(details))));
  for (const formats::ProtoAny& detail : status.details) {
    if (detail.type_url != kSourceUrl) continue;
    auto place = TRY(formats::Json::Parse(detail.value));
    const formats::Json& info = place["info"];
    std::string text = TRY(formats::DecodeBase64(info["data"].AsString()));
    int first = 0, last = 0;
    for (const formats::Json& range : place["ranges"].items()) {
      int line = static_cast<int>(range["start"]["line"].AsInt());
      if (first == 0 || line < first) first = line;
      last = std::max({last, line, static_cast<int>(range["end"]["line"].AsInt())});
    }
    places_ += dockerfile::SourceText(info["filename"].AsString(), Split(text, '\n'), first, last);
  }
  return {};
}

std::string Graph::FailureText() const {
  std::string out;
  for (const Step& step : steps_) {
    if (step.error.empty() || step.WasCancelled()) continue;
    out += fmt::format("------\n > {}:\n", step.name);
    for (const std::string& line : step.tail) out += line + "\n";
    if (!step.line.empty()) out += step.line + "\n";
    out += "------\n";
  }
  return out + places_;
}

}  // namespace gantry::build_client
