// SPDX-License-Identifier: Apache-2.0
#include "buildkit/source_places.h"

#include "formats/base64.h"
#include "formats/json.h"

namespace gantry::buildkit {
namespace {

using formats::Json;

constexpr const char* kTypeUrl = "github.com/moby/buildkit/errdefs.Source+json";

Json ToJson(const pb::Position& position) {
  return Json::MakeObject({{"line", position.line()}, {"character", position.character()}});
}

Json ToJson(const pb::Definition& definition) {
  Json operations = Json::MakeArray();
  for (const std::string& bytes : definition.def()) operations.Append(formats::EncodeBase64(bytes));
  return Json::MakeObject({{"def", std::move(operations)}});
}

Json ToJson(const pb::SourceInfo& source) {
  Json json = Json::MakeObject({{"filename", source.filename()},
                                {"data", formats::EncodeBase64(source.data())},
                                {"language", source.language()}});
  if (source.has_definition()) json.Set("definition", ToJson(source.definition()));
  return json;
}

}  // namespace

void AddPlace(const pb::SourceInfo& source, const std::vector<pb::Range>& ranges,
              ErrorDetails* details) {
  Json list = Json::MakeArray();
  for (const pb::Range& range : ranges) {
    list.Append(Json::MakeObject({{"start", ToJson(range.start())}, {"end", ToJson(range.end())}}));
  }
  google::protobuf::Any* detail = details->Add();
  detail->set_type_url(kTypeUrl);
  detail->set_value(
      Json::MakeObject({{"info", ToJson(source)}, {"ranges", std::move(list)}}).Dump());
}

void AddPlacesOf(const pb::Definition& definition, const std::string& operation,
                 ErrorDetails* details) {
  pb::Source sources;
  if (!sources.ParseFromString(definition.sources())) return;
  auto found = sources.locations().find(operation);
  if (found == sources.locations().end()) return;
  const auto& places = found->second.locations();
  // Clients put each around those before it: the last one told is the innermost.
  for (auto place = places.rbegin(); place != places.rend(); ++place) {
    int index = place->sourceindex();
    if (index < 0 || index >= sources.infos_size()) continue;
    AddPlace(sources.infos(index), {place->ranges().begin(), place->ranges().end()}, details);
  }
}

std::vector<pb::Range> RangesOfLines(int first, int last) {
  std::vector<pb::Range> ranges;
  for (int line = first; line > 0 && line <= last; ++line) {
    pb::Range& range = ranges.emplace_back();
    range.mutable_start()->set_line(line);
    range.mutable_end()->set_line(line);
  }
  return ranges;
}

}  // namespace gantry::buildkit
