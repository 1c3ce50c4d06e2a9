// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantry/disk_plan.h"

#include "cmd/gantry/listing.h"
#include "cmd/gantry/output.h"
#include "cmd/gantry/prune_report.h"
#include "cmd/gantry/table.h"
#include "formats/human_units.h"

namespace gantry::cli {
namespace {

using formats::HumanSize;
using formats::Json;

constexpr size_t kNameWidth = 50;

std::string BytesText(const Json& bytes) { return HumanSize(bytes.AsDouble(), 3); }

// The daemon's decisions as rows, those that go first.
std::string DecisionTable(const Json& plan) {
  Table table(Table::Layout{10, 3});
  table.AddRow({"", "TYPE", "NAME", "SIZE", "FREED", "WHY"});
  for (const Json& one : plan["Decisions"].items()) {
    table.AddRow({one["Goes"].AsBool() ? "goes" : "stays", one["Type"].AsString(),
                  Ellipsis(one["Name"].AsString(), kNameWidth), BytesText(one["Size"]),
                  BytesText(one["Freed"]), one["Reason"].AsString()});
  }
  return table.Format();
}

void ShowPlan(const Json& plan) {
  PrintText(DecisionTable(plan));
  Print("\nBudget {}, used {} (containers {}, volumes {}), afterwards {}\n",
        BytesText(plan["Budget"]), BytesText(plan["Used"]), BytesText(plan["Containers"]),
        BytesText(plan["Volumes"]), BytesText(plan["After"]));
  if (plan["After"].AsInt() > plan["Budget"].AsInt()) {
    PrintText("It can't be kept: the rest is needed, or containers' and volumes'.\n");
  }
}

}  // namespace

Result<int> PruneToBudget(Cli& cli, const BudgetCall& wanted) {
  wire::Query query;
  if (wanted.bytes >= 0) query.Add("bytes", fmt::format("{}", wanted.bytes));
  Api* api = TRY(cli.Connect());
  Json plan = TRY(api->Get("/system/budget", query));
  ShowPlan(plan);
  if (wanted.explain) return 0;
  if (plan["After"].AsInt() == plan["Used"].AsInt()) return 0;
  if (!wanted.force && !ConfirmPrune("This will remove what goes.")) return 0;
  Json done = TRY(api->Post("/system/budget", query));
  Print("Total reclaimed space: {}\n",
        HumanSize(done["Used"].AsDouble() - done["After"].AsDouble()));
  return 0;
}

}  // namespace gantry::cli
