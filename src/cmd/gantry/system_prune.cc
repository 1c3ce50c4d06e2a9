// SPDX-License-Identifier: Apache-2.0
//
// gantry system prune and builder prune: everything that nobody uses, in the order in which one
// keeps the other in use.
#include <unistd.h>

#include "cmd/gantry/command_list.h"
#include "cmd/gantry/disk_plan.h"
#include "cmd/gantry/output.h"
#include "cmd/gantry/prune_report.h"
#include "formats/human_units.h"

namespace gantry::cli {
namespace {

struct Step {
  std::string_view path;
  std::string_view title;
  std::string_view deleted;  // member of the answer
};

constexpr Step kContainerStep = {"/containers/prune", "Deleted Containers", "ContainersDeleted"};
constexpr Step kNetworkStep = {"/networks/prune", "Deleted Networks", "NetworksDeleted"};
constexpr Step kVolumeStep = {"/volumes/prune", "Deleted Volumes", "VolumesDeleted"};
constexpr Step kImageStep = {"/images/prune", "Deleted Images", "ImagesDeleted"};
constexpr Step kBuildStep = {"/build/prune", "Deleted build cache objects", "CachesDeleted"};

struct SystemPruneFlags {
  bool all = false;
  bool force = false;
  bool volumes = false;
  std::vector<std::string> filters;
};

std::string WarningOf(const SystemPruneFlags& flags) {
  std::string text =
      "This will remove:\n  - all stopped containers\n"
      "  - all networks not used by at least one container\n";
  if (flags.volumes) {
    text += "  - all anonymous volumes not used by at least one container\n";
  }
  text += flags.all ? "  - all images without at least one container associated to them\n"
                      "  - all build cache\n"
                    : "  - all dangling images\n  - unused build cache\n";
  if (!flags.filters.empty()) {
    text += "\n  Items to be pruned will be filtered with:\n";
    for (const std::string& filter : flags.filters) text += "  - " + filter + "\n";
  }
  return text;
}

void BindPruneFilter(Flags* flags, std::vector<std::string>* filters) {
  flags->Custom(
      "filter", 0, "filter",
      [filters](const std::string& text) -> Result<> {
        if (text.find('=') == std::string::npos) {
          return InvalidArgument("bad format of filter (expected name=value)");
        }
        filters->push_back(text);
        return {};
      },
      "Only what matches, such as label=a");
}

Result<double> RunStep(Api* api, const Step& step, const std::vector<std::string>& filters) {
  wire::Query query;
  if (!filters.empty()) query.Add("filters", FormatFilters(filters));
  Json answer = TRY(api->Post(std::string(step.path), query));
  PrintPruned(step.title, answer[step.deleted]);
  return answer["SpaceReclaimed"].AsDouble();
}

}  // namespace

Result<int> SystemPruneCommand(Cli& cli, Invocation& call) {
  SystemPruneFlags flags;
  call.flags.Bool("all", 'a', &flags.all, "All images that are not used, not only unnamed ones");
  BindPruneFilter(&call.flags, &flags.filters);
  call.flags.Bool("force", 'f', &flags.force, "Do not ask");
  call.flags.Bool("volumes", 0, &flags.volumes, "Anonymous volumes too");
  BudgetCall budget;
  bool to_budget = false;
  call.flags.Custom(
      "budget", 0, "bytes",
      [&](const std::string& text) -> Result<> {
        budget.bytes = TRY(formats::ParseBinarySize(text));
        to_budget = true;
        return {};
      },
      "Only images and build cache, until all fits in so much: least recently used first");
  call.flags.Bool("explain", 0, &budget.explain,
                  "Show what would go for the budget (the daemon's without --budget), and why");
  if (auto code = call.Parse(ArgCount::None())) return *code;
  if (to_budget || budget.explain) {
    if (flags.all || flags.volumes || !flags.filters.empty()) {
      return InvalidArgument("--budget and --explain go with no other flag than --force");
    }
    budget.force = flags.force;
    return PruneToBudget(cli, budget);
  }
  TRY(AddConfiguredFilters(cli, &flags.filters));
  if (flags.volumes) {
    for (const std::string& filter : flags.filters) {
      if (filter.substr(0, 6) == "until=") {
        return InvalidArgument("ERROR: The \"until\" filter is not supported with \"--volumes\"");
      }
    }
  }
  if (!flags.force && !ConfirmPrune(WarningOf(flags))) return 0;
  Api* api = TRY(cli.Connect());
  double space = TRY(RunStep(api, kContainerStep, flags.filters));
  TRY(RunStep(api, kNetworkStep, flags.filters));
  if (flags.volumes) space += TRY(RunStep(api, kVolumeStep, flags.filters));
  std::vector<std::string> image_filters = flags.filters;
  if (flags.all) image_filters.emplace_back("dangling=false");
  space += TRY(RunStep(api, kImageStep, image_filters));
  // An engine without builds has no cache of them.
  Result<double> cache = RunStep(api, kBuildStep, flags.filters);
  if (cache.ok()) {
    space += *cache;
  } else if (cache.error().kind() != ErrorKind::kNotFound &&
             cache.error().kind() != ErrorKind::kUnimplemented) {
    return std::move(cache).error();
  }
  Print("Total reclaimed space: {}\n", formats::HumanSize(space));
  return 0;
}

Result<int> BuilderPruneCommand(Cli& cli, Invocation& call) {
  bool all = false, force = false;
  int64_t keep = 0;
  std::vector<std::string> filters;
  call.flags.Bool("all", 'a', &all, "All of the cache, not only what dangles");
  BindPruneFilter(&call.flags, &filters);
  call.flags.Bool("force", 'f', &force, "Do not ask");
  call.flags.Custom(
      "keep-storage", 0, "bytes",
      [&keep](const std::string& text) -> Result<> {
        keep = TRY(formats::ParseBinarySize(text));
        return {};
      },
      "How much of the cache to keep");
  if (auto code = call.Parse(ArgCount::None())) return *code;
  std::string warning =
      all ? "This will remove all build cache." : "This will remove all dangling build cache.";
  TRY(AddConfiguredFilters(cli, &filters));
  if (!force && !ConfirmPrune(warning)) return 0;
  wire::Query query;
  if (all) query.Add("all", "1");
  if (keep > 0) query.Add("keep-storage", fmt::format("{}", keep));
  if (!filters.empty()) query.Add("filters", FormatFilters(filters));
  Api* api = TRY(cli.Connect());
  Json answer = TRY(api->Post("/build/prune", query));
  PrintPruned(kBuildStep.title, answer[kBuildStep.deleted]);
  Print("Total reclaimed space: {}\n", formats::HumanSize(answer["SpaceReclaimed"].AsDouble()));
  return 0;
}

}  // namespace gantry::cli
