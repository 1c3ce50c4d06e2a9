// SPDX-License-Identifier: Apache-2.0
//
// What the specification wants "logged as a warning" (runtime.md, "Warnings"): the operation goes
// on as if nothing had been said. One thread.
#pragma once

#include <functional>
#include <string_view>

namespace gantry::runtime {

// Called once by main, before any verb; without it warnings are dropped.
void SetWarningSink(std::function<void(std::string_view message)> sink);
void Warn(std::string_view message);

}  // namespace gantry::runtime
