// SPDX-License-Identifier: Apache-2.0
//
// The flags that set one number of HostConfig: --memory, --cpu-shares, …; those of `run` and
// `create`, of which `update` takes some. One thread.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "cmd/gantry/flags.h"

namespace gantry::cli {

// Fields of HostConfig by name.
using NumberFields = std::map<std::string, int64_t>;

enum class ResourceFlags { kAll, kOfUpdate };
// `numbers` outlives the flags.
void BindResourceNumbers(Flags* flags, ResourceFlags which, NumberFields* numbers);

}  // namespace gantry::cli
