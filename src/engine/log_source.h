// SPDX-License-Identifier: Apache-2.0
//
// A container as log drivers tell of it. Pure.
#pragma once

#include <string>

#include "engine/container.h"
#include "logs/entry.h"

namespace gantry::engine {

logs::LogSource LogSourceOf(const ContainerRecord& record);

// What `logs --details` shows before each line, with the space after it: the attributes that the
// options of json-file choose, "E=v,label=x,tag=y". Other drivers keep none.
Result<std::string> LogDetailsOf(const ContainerRecord& record);

}  // namespace gantry::engine
