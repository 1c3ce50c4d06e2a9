// SPDX-License-Identifier: Apache-2.0
//
// What all forms of prune ask and tell. One thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cmd/gantry/cli.h"
#include "formats/json.h"

namespace gantry::cli {

// Asks on the terminal; anything but y and yes is no.
bool ConfirmPrune(std::string_view warning);
// "pruneFilters" of config.json; one that the command line contradicts is left out, as by docker.
Result<> AddConfiguredFilters(Cli& cli, std::vector<std::string>* filters);
// The list of what is gone under its title; nothing when nothing is. `deleted`: names, or objects
// with Untagged and Deleted.
void PrintPruned(std::string_view title, const formats::Json& deleted);

}  // namespace gantry::cli
