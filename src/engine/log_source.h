// SPDX-License-Identifier: Apache-2.0
//
// A container as log drivers tell of it. Pure.
#pragma once

#include <map>
#include <string>

#include "engine/container.h"
#include "logs/entry.h"

namespace gantry::engine {

logs::LogSource LogSourceOf(const ContainerRecord& record);

// The labels, variables and tag that the options of json-file choose; other drivers' files have
// none.
Result<std::map<std::string, std::string>> LogAttributesOf(const ContainerRecord& record);

// What `logs --details` shows before each line, with the space after it: "E=v,label=x,tag=y".
Result<std::string> LogDetailsOf(const ContainerRecord& record);

}  // namespace gantry::engine
