// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantry/disk_usage.h"

#include "base/text.h"
#include "cmd/gantry/listing.h"
#include "formats/human_units.h"
#include "wire/http_client.h"

namespace gantry::cli {
namespace {

using formats::HumanSize;
using formats::Json;

struct Section {
  const char* title;
  const char* table;
  Json headers;
};

Result<std::string> Render(const Section& section, const std::vector<Json>& rows) {
  ListingSpec spec;
  spec.default_table = section.table;
  spec.default_quiet = section.table;
  spec.headers = section.headers;
  Listing listing = TRY(Listing::Create(std::move(spec), "", false));
  return fmt::format("{}\n\n{}", section.title, TRY(listing.Format(rows)));
}

std::vector<Json> ImageRows(const Json& usage) {
  std::vector<Json> rows;
  for (const Json& image : usage["Images"].items()) {
    std::string repository = "<none>", tag = "<none>";
    const std::string& name = image["RepoTags"].at(0).AsString();
    size_t colon = name.rfind(':');
    if (colon != std::string::npos && name != "<none>:<none>") {
      repository = name.substr(0, colon);
      tag = name.substr(colon + 1);
    }
    double size = image["Size"].AsDouble(), shared = image["SharedSize"].AsDouble();
    rows.push_back(Json::MakeObject(
        {{"Repository", repository},
         {"Tag", tag},
         {"ID", ShortId(image["Id"].AsString())},
         {"CreatedSince", image["Created"].AsInt() > 0 ? Ago(image["Created"].AsInt()) : "N/A"},
         {"Size", HumanSize(size, 3)},
         {"SharedSize", HumanSize(shared, 3)},
         {"UniqueSize", HumanSize(size - shared, 3)},
         {"Containers", fmt::format("{}", image["Containers"].AsInt())}}));
  }
  return rows;
}

std::vector<Json> ContainerRows(const Json& usage) {
  std::vector<Json> rows;
  for (const Json& container : usage["Containers"].items()) {
    int64_t volumes = 0;
    for (const Json& mount : container["Mounts"].items()) {
      if (mount["Driver"].AsString() == "local") ++volumes;
    }
    std::string name = container["Names"].at(0).AsString();
    if (name.substr(0, 1) == "/") name.erase(0, 1);
    rows.push_back(Json::MakeObject(
        {{"ID", ShortId(container["Id"].AsString())},
         {"Image", container["Image"]},
         {"Command", formats::QuoteGo(Ellipsis(container["Command"].AsString(), 20))},
         {"LocalVolumes", fmt::format("{}", volumes)},
         {"Size", HumanSize(container["SizeRw"].AsDouble(), 3)},
         {"RunningFor", Ago(container["Created"].AsInt())},
         {"Status", container["Status"]},
         {"Names", name}}));
  }
  return rows;
}

std::vector<Json> VolumeRows(const Json& usage) {
  std::vector<Json> rows;
  for (const Json& volume : usage["Volumes"].items()) {
    double size = volume["UsageData"]["Size"].AsDouble(-1);
    rows.push_back(
        Json::MakeObject({{"Name", volume["Name"]},
                          {"Links", fmt::format("{}", volume["UsageData"]["RefCount"].AsInt())},
                          {"Size", size == -1 ? "N/A" : HumanSize(size)}}));
  }
  return rows;
}

std::vector<Json> CacheRows(const Json& usage) {
  std::vector<Json> rows;
  for (const Json& item : usage["BuildCache"].items()) {
    rows.push_back(Json::MakeObject({{"ID", ShortId(item["ID"].AsString())},
                                     {"CacheType", item["Type"]},
                                     {"Size", HumanSize(item["Size"].AsDouble(), 3)},
                                     {"CreatedSince", item["CreatedAt"]},
                                     {"LastUsedSince", item["LastUsedAt"]},
                                     {"UsageCount", fmt::format("{}", item["UsageCount"].AsInt())},
                                     {"Shared", item["Shared"].AsBool() ? "true" : "false"}}));
  }
  return rows;
}

}  // namespace

Result<std::string> VerboseDiskUsage(const Json& usage, const std::string& format) {
  std::vector<Json> images = ImageRows(usage), containers = ContainerRows(usage);
  std::vector<Json> volumes = VolumeRows(usage), cache = CacheRows(usage);
  if (!format.empty() && format != "table") {
    Json all = Json::MakeObject({{"Images", images},
                                 {"Containers", containers},
                                 {"Volumes", volumes},
                                 {"BuildCache", cache}});
    return TRY(TRY(ParseFormat(format)).Execute(all)) + "\n";
  }
  Section image_section = {
      "Images space usage:",
      "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}\t{{.SharedSize}}\t"
      "{{.UniqueSize}}\t{{.Containers}}",
      Json::MakeObject({{"Repository", "REPOSITORY"},
                        {"Tag", "TAG"},
                        {"ID", "IMAGE ID"},
                        {"CreatedSince", "CREATED"},
                        {"Size", "SIZE"},
                        {"SharedSize", "SHARED SIZE"},
                        {"UniqueSize", "UNIQUE SIZE"},
                        {"Containers", "CONTAINERS"}})};
  Section container_section = {
      "\nContainers space usage:",
      "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.LocalVolumes}}\t{{.Size}}\t{{.RunningFor}}\t"
      "{{.Status}}\t{{.Names}}",
      Json::MakeObject({{"ID", "CONTAINER ID"},
                        {"Image", "IMAGE"},
                        {"Command", "COMMAND"},
                        {"LocalVolumes", "LOCAL VOLUMES"},
                        {"Size", "SIZE"},
                        {"RunningFor", "CREATED"},
                        {"Status", "STATUS"},
                        {"Names", "NAMES"}})};
  Section volume_section = {
      "\nLocal Volumes space usage:", "{{.Name}}\t{{.Links}}\t{{.Size}}",
      Json::MakeObject({{"Name", "VOLUME NAME"}, {"Links", "LINKS"}, {"Size", "SIZE"}})};
  double cache_size = 0;
  for (const Json& item : usage["BuildCache"].items()) {
    if (!item["Shared"].AsBool()) cache_size += item["Size"].AsDouble();
  }
  std::string cache_title = fmt::format("\nBuild cache usage: {}", HumanSize(cache_size));
  Section cache_section = {
      cache_title.c_str(),
      "{{.ID}}\t{{.CacheType}}\t{{.Size}}\t{{.CreatedSince}}\t{{.LastUsedSince}}\t"
      "{{.UsageCount}}\t{{.Shared}}",
      Json::MakeObject({{"ID", "CACHE ID"},
                        {"CacheType", "CACHE TYPE"},
                        {"Size", "SIZE"},
                        {"CreatedSince", "CREATED"},
                        {"LastUsedSince", "LAST USED"},
                        {"UsageCount", "USAGE"},
                        {"Shared", "SHARED"}})};
  return TRY(Render(image_section, images)) + TRY(Render(container_section, containers)) +
         TRY(Render(volume_section, volumes)) + TRY(Render(cache_section, cache)) + "\n";
}

}  // namespace gantry::cli
