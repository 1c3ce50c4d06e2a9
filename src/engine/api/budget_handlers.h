// SPDX-License-Identifier: Apache-2.0
//
// gantry's own: what goes for a disk budget and why, and doing it (docs/garbage-collection.md).
#pragma once

#include "engine/api/api.h"

namespace gantry::engine::api {

// GET and POST /system/budget; `bytes` is the budget, without it the configuration's.
Result<> ExplainDiskBudget(Call& call);
Result<> KeepDiskBudget(Call& call);

}  // namespace gantry::engine::api
