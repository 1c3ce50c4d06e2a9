// SPDX-License-Identifier: Apache-2.0
//
// Options of the front end dockerfile.v0, as BuildKit's clients send them. Pure; any thread.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "base/error.h"
#include "build/request.h"

namespace gantry::buildkit {

using FrontendOptions = std::map<std::string, std::string>;

// `fallback` also where it is empty.
std::string OptionOf(const FrontendOptions& options, const std::string& key,
                     std::string_view fallback = "");

// kInvalidArgument, or kUnimplemented for what this front end does not have.
Result<build::BuildRequest> ReadFrontendOptions(const FrontendOptions& options);

// The front end of this name is the one that is here: "docker/dockerfile:1", as "# syntax" and
// gateway.v0 have it, from whatever registry.
bool IsOwnFrontend(const std::string& source);

}  // namespace gantry::buildkit
