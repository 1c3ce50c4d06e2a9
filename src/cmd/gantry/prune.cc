// SPDX-License-Identifier: Apache-2.0
//
// gantry container, image, network, volume prune: removing what nobody uses.
#include <signal.h>
#include <unistd.h>

#include <algorithm>

#include "cmd/gantry/command_list.h"
#include "cmd/gantry/output.h"
#include "cmd/gantry/prune_report.h"
#include "formats/human_units.h"

namespace gantry::cli {
namespace {

struct Kind {
  std::string_view path;
  std::string_view warning;
  std::string_view title;    // above the list of what is gone
  std::string_view deleted;  // member of the answer
  bool reports_space = true;
};

// Who breaks off at the question has said no.
void Decline(int) {
  ssize_t written = ::write(STDOUT_FILENO, "\n", 1);
  ::_exit(written == 1 ? 0 : 1);
}

}  // namespace

bool ConfirmPrune(std::string_view warning) {
  auto interrupted = ::signal(SIGINT, Decline);
  auto terminated = ::signal(SIGTERM, Decline);
  Print("WARNING! {}\nAre you sure you want to continue? [y/N] ", warning);
  FlushOutput();
  std::string answer;
  char c = 0;
  while (answer.size() < 16 && ::read(STDIN_FILENO, &c, 1) == 1 && c != '\n') answer.push_back(c);
  ::signal(SIGINT, interrupted);
  ::signal(SIGTERM, terminated);
  return answer == "y" || answer == "Y" || answer == "yes";
}

Result<> AddConfiguredFilters(Cli& cli, std::vector<std::string>* filters) {
  const std::vector<std::string> given = *filters;
  auto has = [&](const std::string& filter) {
    return std::find(given.begin(), given.end(), filter) != given.end();
  };
  for (const Json& item : (*TRY(cli.Config()))["pruneFilters"].items()) {
    const std::string& filter = item.AsString();
    size_t equals = filter.find('=');
    if (equals == std::string::npos) continue;
    std::string key = filter.substr(0, equals);
    std::string opposite = key == "label" ? "label!" : key == "label!" ? "label" : "";
    if (!opposite.empty() && has(opposite + filter.substr(equals))) continue;
    filters->push_back(filter);
  }
  return {};
}

void PrintPruned(std::string_view title, const Json& deleted) {
  if (deleted.size() == 0) return;
  Print("{}:\n", title);
  for (const Json& item : deleted.items()) {
    if (item.is_string()) Print("{}\n", item.AsString());
    for (const auto& [what, name] : item.members()) {
      Print("{}: {}\n", what == "Untagged" ? "untagged" : "deleted", name.AsString());
    }
  }
  PrintText("\n");
}

namespace {

Result<int> Prune(Cli& cli, Invocation& call, const Kind& kind, bool has_all,
                  std::string_view all_filter) {
  bool force = false, all = false;
  std::vector<std::string> filters;
  call.flags.Bool("force", 'f', &force, "Do not ask");
  if (has_all) call.flags.Bool("all", 'a', &all, "Everything unused, not only what has no name");
  call.flags.Custom(
      "filter", 0, "filter",
      [&filters](const std::string& text) -> Result<> {
        if (text.find('=') == std::string::npos) {
          return InvalidArgument("bad format of filter (expected name=value)");
        }
        filters.push_back(text);
        return {};
      },
      "Only what matches, such as label=a");
  if (auto code = call.Parse(ArgCount::None())) return *code;
  if (all) filters.emplace_back(all_filter);
  TRY(AddConfiguredFilters(cli, &filters));
  if (!force && !ConfirmPrune(kind.warning)) return 0;
  wire::Query query;
  if (!filters.empty()) query.Add("filters", FormatFilters(filters));
  Api* api = TRY(cli.Connect());
  Json answer = TRY(api->Post(std::string(kind.path), query));
  PrintPruned(kind.title, answer[kind.deleted]);
  if (kind.reports_space) {
    Print("Total reclaimed space: {}\n", formats::HumanSize(answer["SpaceReclaimed"].AsDouble()));
  }
  return 0;
}

}  // namespace

Result<int> ContainerPruneCommand(Cli& cli, Invocation& call) {
  static constexpr Kind kKind = {"/containers/prune", "This will remove all stopped containers.",
                                 "Deleted Containers", "ContainersDeleted"};
  return Prune(cli, call, kKind, false, "");
}

Result<int> ImagePruneCommand(Cli& cli, Invocation& call) {
  static constexpr Kind kKind = {"/images/prune", "This will remove all dangling images.",
                                 "Deleted Images", "ImagesDeleted"};
  return Prune(cli, call, kKind, true, "dangling=false");
}

Result<int> NetworkPruneCommand(Cli& cli, Invocation& call) {
  static constexpr Kind kKind = {
      "/networks/prune", "This will remove all custom networks not used by at least one container.",
      "Deleted Networks", "NetworksDeleted", false};
  return Prune(cli, call, kKind, false, "");
}

Result<int> VolumePruneCommand(Cli& cli, Invocation& call) {
  static constexpr Kind kKind = {
      "/volumes/prune",
      "This will remove anonymous local volumes not used by at least one container.",
      "Deleted Volumes", "VolumesDeleted"};
  return Prune(cli, call, kKind, true, "all=true");
}

}  // namespace gantry::cli
