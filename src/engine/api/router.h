// SPDX-License-Identifier: Apache-2.0
//
// From a request to its handler: the one route table, API versions, and the form of errors. Pure
// but for Serve(). Any thread.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/api/api.h"

namespace gantry::engine::api {

// A pattern's parts are words, "{}" for one part of the path, "{*}" for one part or more (names of
// images have slashes).
struct Route {
  std::string_view method;
  std::string_view pattern;
  Handler handler;
  // What it answers with, for the fields that each version has (version_shape.h).
  AnswerForm form = AnswerForm::kNone;
};

// Every route there is (routes.cc).
std::span<const Route> Routes();

struct Match {
  const Route* route = nullptr;
  std::vector<std::string> args;
};
// Nothing for a path that no pattern fits, or that one fits for other methods only.
std::optional<Match> FindRoute(std::span<const Route> routes, std::string_view method,
                               std::string_view path);

// Takes "/v1.41" off the path. Errors in docker's words for versions that are not served; a path
// without a version is the newest.
struct Versioned {
  int minor = kMaxMinor;
  std::string_view path;
};
Result<Versioned> SplitVersion(std::string_view path, int min_minor = kMinMinor);

// The server's handler.
void Serve(ApiParts& parts, wire::Exchange& exchange);

}  // namespace gantry::engine::api
