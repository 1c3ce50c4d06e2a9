// SPDX-License-Identifier: Apache-2.0
//
// gantry system df: what takes room on the disk.
#include <cmath>

#include "cmd/gantry/command_list.h"
#include "cmd/gantry/disk_usage.h"
#include "cmd/gantry/listing.h"
#include "cmd/gantry/output.h"
#include "formats/human_units.h"

namespace gantry::cli {
namespace {

using formats::HumanSize;

bool IsActive(const Json& container) {
  const std::string& state = container["State"].AsString();
  return state == "running" || state == "paused" || state == "restarting";
}

std::string WithShare(double part, double whole) {
  if (whole <= 0) return HumanSize(part);
  return fmt::format("{} ({:.0f}%)", HumanSize(part), std::floor(part * 100 / whole));
}

Json DfRow(std::string_view type, size_t total, size_t active, double size,
           std::string reclaimable) {
  return Json::MakeObject({{"Active", fmt::format("{}", active)},
                           {"Reclaimable", std::move(reclaimable)},
                           {"Size", HumanSize(size)},
                           {"TotalCount", fmt::format("{}", total)},
                           {"Type", type}});
}

Json ImagesRow(const Json& usage) {
  size_t active = 0;
  double used = 0;
  double layers = usage["LayersSize"].AsDouble();
  for (const Json& image : usage["Images"].items()) {
    int64_t containers = image["Containers"].AsInt();
    if (containers > 0) ++active;
    double size = image["Size"].AsDouble(-1), shared = image["SharedSize"].AsDouble(-1);
    if (containers != 0 && size != -1 && shared != -1) used += size - shared;
  }
  return DfRow("Images", usage["Images"].size(), active, layers, WithShare(layers - used, layers));
}

Json ContainersRow(const Json& usage) {
  size_t active = 0;
  double size = 0, reclaimable = 0;
  for (const Json& container : usage["Containers"].items()) {
    double own = container["SizeRw"].AsDouble();
    size += own;
    if (IsActive(container)) {
      ++active;
    } else {
      reclaimable += own;
    }
  }
  return DfRow("Containers", usage["Containers"].size(), active, size,
               WithShare(reclaimable, size));
}

Json VolumesRow(const Json& usage) {
  size_t active = 0;
  double size = 0, reclaimable = 0;
  for (const Json& volume : usage["Volumes"].items()) {
    double own = volume["UsageData"]["Size"].AsDouble(-1);
    if (own != -1) size += own;
    if (volume["UsageData"]["RefCount"].AsInt() > 0) {
      ++active;
    } else if (own != -1) {
      reclaimable += own;
    }
  }
  return DfRow("Local Volumes", usage["Volumes"].size(), active, size,
               WithShare(reclaimable, size));
}

Json BuildCacheRow(const Json& usage) {
  size_t active = 0;
  double size = 0, in_use = 0;
  for (const Json& item : usage["BuildCache"].items()) {
    if (item["InUse"].AsBool()) ++active;
    if (item["Shared"].AsBool()) continue;
    size += item["Size"].AsDouble();
    if (item["InUse"].AsBool()) in_use += item["Size"].AsDouble();
  }
  return DfRow("Build Cache", usage["BuildCache"].size(), active, size, HumanSize(size - in_use));
}

ListingSpec DfSpec() {
  ListingSpec spec;
  spec.default_table = "{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}";
  spec.default_quiet = spec.default_table;
  spec.raw =
      "type: {{.Type}}\ntotal: {{.TotalCount}}\nactive: {{.Active}}\nsize: {{.Size}}\nreclaimable: "
      "{{.Reclaimable}}\n";
  spec.root_type = "*formatter.diskUsageContext";
  spec.headers = Json::MakeObject({{"Active", "ACTIVE"},
                                   {"Reclaimable", "RECLAIMABLE"},
                                   {"Size", "SIZE"},
                                   {"TotalCount", "TOTAL"},
                                   {"Type", "TYPE"}});
  return spec;
}

}  // namespace

Result<int> SystemDfCommand(Cli& cli, Invocation& call) {
  std::string format;
  bool verbose = false;
  call.flags.String("format", 0, &format,
                    "\"table\", \"table TEMPLATE\", \"json\" or a Go template");
  call.flags.Bool("verbose", 'v', &verbose, "Show each image, container and volume");
  if (auto code = call.Parse(ArgCount::None())) return *code;
  Listing listing = TRY(Listing::Create(DfSpec(), format, false));
  Api* api = TRY(cli.Connect());
  Json usage = TRY(api->Get("/system/df"));
  if (verbose) {
    PrintText(TRY(VerboseDiskUsage(usage, format)));
    return 0;
  }
  PrintText(TRY(listing.Format(
      {ImagesRow(usage), ContainersRow(usage), VolumesRow(usage), BuildCacheRow(usage)})));
  return 0;
}

}  // namespace gantry::cli
