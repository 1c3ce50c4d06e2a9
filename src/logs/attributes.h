// SPDX-License-Identifier: Apache-2.0
//
// What the options tag, labels, labels-regex, env and env-regex add to each line. Pure.
#pragma once

#include <map>
#include <string>

#include "base/error.h"
#include "logs/entry.h"

namespace gantry::logs {

// The option "tag", a Go template over docker's logger.Info, "{{.ID}}" by default.
Result<std::string> RenderTag(const LogSource& source);
// The chosen labels and variables by name; of two with one name the variable wins.
Result<std::map<std::string, std::string>> ChooseAttributes(const LogSource& source);

}  // namespace gantry::logs
