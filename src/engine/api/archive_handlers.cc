// SPDX-License-Identifier: Apache-2.0
#include "engine/api/archive_handlers.h"

#include <optional>

#include "base/text.h"
#include "engine/container_files.h"
#include "formats/base64.h"
#include "formats/compression/compression.h"

namespace gantry::engine::api {
namespace {

using formats::Json;

Result<std::string> PathParameter(const Call& call) {
  std::string_view path = call.query().Get("path");
  // docker's own words.
  if (path.empty()) return InvalidArgument("bad parameter: pathcannot be empty");
  return std::string(path);
}

void SetStatHeader(Call& call, const PathStat& stat) {
  Json json = Json::MakeObject({{"name", stat.name},
                                {"size", stat.size},
                                {"mode", stat.mode},
                                {"mtime", FormatRfc3339Nano(stat.mtime)},
                                {"linkTarget", stat.link_target}});
  call.exchange.headers().Set("X-Docker-Container-Path-Stat", formats::EncodeBase64(json.Dump()));
}

// Accept-Encoding names gzip and does not refuse it (RFC 9110, 12.5.3).
bool TakesGzip(std::string_view accepted) {
  for (const std::string& one : Split(accepted, ',')) {
    std::vector<std::string> parts = SplitWords(one, " ;\t");
    if (parts.empty() || parts[0] != "gzip") continue;
    return parts.size() < 2 || (parts[1] != "q=0" && !parts[1].starts_with("q=0.0"));
  }
  return false;
}

class AnswerSink : public ByteSink {
 public:
  explicit AnswerSink(wire::Exchange& exchange) : exchange_(exchange) {}
  Result<> Write(std::string_view data) override { return exchange_.Write(data); }

 private:
  wire::Exchange& exchange_;
};

}  // namespace

Result<> StatArchivePath(Call& call) {
  SetStatHeader(call, TRY(call.engine().StatPath(call.arg(), TRY(PathParameter(call)))));
  return call.exchange.Respond(200);
}

Result<> GetArchive(Call& call) {
  std::string path = TRY(PathParameter(call));
  AnswerSink answer(call.exchange);
  std::optional<formats::compression::GzipSink> gzip;
  if (TakesGzip(call.exchange.request().headers.Get("Accept-Encoding"))) gzip.emplace(answer);
  auto begin = [&](const PathStat& stat) {
    SetStatHeader(call, stat);
    call.exchange.headers().Set("Content-Type", "application/x-tar");
    if (gzip) call.exchange.headers().Set("Content-Encoding", "gzip");
    return call.exchange.Begin(200);
  };
  ByteSink& sink = gzip ? static_cast<ByteSink&>(*gzip) : answer;
  TRY(call.engine().GetArchive(call.arg(), path, begin, sink));
  if (gzip) TRY(gzip->Finish());
  return call.exchange.Finish();
}

Result<> PutArchive(Call& call) {
  std::string path = TRY(PathParameter(call));
  Engine::PutArchiveOptions options;
  options.keeps_kinds = call.query().GetBool("noOverwriteDirNonDir");
  options.copy_owner = call.query().GetBool("copyUIDGID");
  TRY(call.engine().PutArchive(call.arg(), path, options, call.exchange.body()));
  return RespondEmpty(call, 200);
}

Result<> ExportContainer(Call& call) {
  AnswerSink answer(call.exchange);
  auto begin = [&] {
    call.exchange.headers().Set("Content-Type", "application/octet-stream");
    return call.exchange.Begin(200);
  };
  TRY(call.engine().Export(call.arg(), begin, answer));
  return call.exchange.Finish();
}

Result<> ContainerChanges(Call& call) {
  ActionTimer timer(call.engine().action_times(), "changes");
  Json list = Json::MakeArray();
  for (const Engine::Change& change : TRY(call.engine().Changes(call.arg()))) {
    list.Append(Json::MakeObject({{"Path", change.path}, {"Kind", static_cast<int>(change.kind)}}));
  }
  timer.Done();
  // docker's answer when there is none.
  return RespondJson(call, 200, list.size() == 0 ? Json() : list);
}

}  // namespace gantry::engine::api
