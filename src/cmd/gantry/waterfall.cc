// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantry/waterfall.h"

#include <algorithm>

#include "cmd/gantry/table.h"

namespace gantry::cli {
namespace {

std::string Milliseconds(int64_t nanos) {
  return fmt::format("{:.3f}", static_cast<double>(nanos) / 1e6);
}

// "   ███   ": at least one mark, however short the step.
std::string BarOf(const TraceStep& step, int64_t first, int64_t span, size_t columns) {
  auto column = [&](int64_t at) {
    return static_cast<size_t>(static_cast<double>(at - first) / static_cast<double>(span) *
                               static_cast<double>(columns));
  };
  size_t from = std::min(column(step.begin), columns - 1);
  size_t to = std::min(std::max(column(step.end), from + 1), columns);
  std::string bar(from, ' ');
  for (size_t i = from; i < to; ++i) bar.append("█");
  return bar;
}

}  // namespace

std::string Waterfall(std::vector<TraceStep> steps, size_t columns) {
  if (steps.empty()) return "";
  std::stable_sort(steps.begin(), steps.end(),
                   [](const TraceStep& a, const TraceStep& b) { return a.begin < b.begin; });
  int64_t first = steps.front().begin;
  int64_t last = first + 1;
  for (const TraceStep& step : steps) last = std::max(last, step.end);
  Table table(Table::Layout{2, 2});
  table.AddRow({"PROCESS", "AT ms", "FOR ms", "STEP", ""});
  for (const TraceStep& step : steps) {
    table.AddRow({fmt::format("{} {}", step.process, step.pid), Milliseconds(step.begin - first),
                  Milliseconds(step.end - step.begin), step.name,
                  BarOf(step, first, last - first, columns)});
  }
  return table.Format();
}

}  // namespace gantry::cli
