// SPDX-License-Identifier: Apache-2.0
//
// `system prune` for a budget: what goes, what stays, and why.
#pragma once

#include <string>

#include "base/error.h"
#include "cmd/gantry/cli.h"

namespace gantry::cli {

struct BudgetCall {
  int64_t bytes = -1;  // -1: the daemon's own
  bool explain = false;
  bool force = false;
};

// Explains, and unless it is only that, asks and does it.
Result<int> PruneToBudget(Cli& cli, const BudgetCall& wanted);

}  // namespace gantry::cli
