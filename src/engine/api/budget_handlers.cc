// SPDX-License-Identifier: Apache-2.0
#include "engine/api/budget_handlers.h"

#include <utility>

namespace gantry::engine::api {
namespace {

using build::DiskBudget;
using build::DiskDecision;
using build::DiskItem;
using formats::Json;

Result<int64_t> BudgetOf(Call& call) {
  int64_t configured = call.engine().settings()->disk_budget;
  int64_t budget = TRY(IntParameter(call, "bytes", configured));
  if (budget < 0) return InvalidArgument("invalid disk budget: {} bytes", budget);
  if (budget == 0 && !call.query().Has("bytes")) {
    return InvalidArgument("no disk budget is configured (\"disk-budget\"), and none is given");
  }
  return budget;
}

Json ToJson(const DiskDecision& one) {
  bool image = one.item.kind == DiskItem::Kind::kImage;
  int64_t size = 0;
  for (const DiskPart& part : one.item.parts) size += part.bytes;
  return Json::MakeObject({{"Type", image ? "image" : "build-cache"},
                           {"ID", one.item.id},
                           {"Name", one.item.name},
                           {"Size", size},
                           {"Freed", one.freed},
                           {"LastUsed", FormatRfc3339Nano(one.item.used_at)},
                           {"Goes", one.goes},
                           {"Reason", one.reason}});
}

Result<> Respond(Call& call, int64_t budget, const DiskBudget::Report& report) {
  Json decisions = Json::MakeArray();
  for (const DiskDecision& one : report.plan.decisions) decisions.Append(ToJson(one));
  return RespondJson(call, 200,
                     Json::MakeObject({{"Budget", budget},
                                       {"Used", report.plan.used},
                                       {"After", report.plan.after},
                                       {"Containers", report.containers},
                                       {"Volumes", report.volumes},
                                       {"Decisions", std::move(decisions)}}));
}

}  // namespace

Result<> ExplainDiskBudget(Call& call) {
  int64_t budget = TRY(BudgetOf(call));
  return Respond(call, budget, TRY(call.parts.disk_budget.Explain(budget)));
}

Result<> KeepDiskBudget(Call& call) {
  int64_t budget = TRY(BudgetOf(call));
  return Respond(call, budget, TRY(call.parts.disk_budget.Apply(budget)));
}

}  // namespace gantry::engine::api
