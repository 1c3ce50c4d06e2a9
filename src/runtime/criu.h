// SPDX-License-Identifier: Apache-2.0
//
// criu, the program that writes processes to disk (criu(8)): whether it is there and works here.
#pragma once

#include "base/error.h"

namespace gantry::runtime {

// Runs `criu check`. Errors: there is no criu in PATH; what criu says is missing.
Result<> CheckCriu();

}  // namespace gantry::runtime
