// SPDX-License-Identifier: Apache-2.0
#include "engine/api/router.h"

#include <charconv>
#include <utility>

#include "base/log.h"

namespace gantry::engine::api {
namespace {

using formats::Json;

std::vector<std::string_view> SplitPath(std::string_view path) {
  std::vector<std::string_view> parts;
  while (!path.empty()) {
    size_t end = std::min(path.find('/'), path.size());
    if (end > 0) parts.push_back(path.substr(0, end));
    path.remove_prefix(std::min(path.size(), end + 1));
  }
  return parts;
}

using Parts = std::span<const std::string_view>;

// The longest "{*}" that lets the rest fit.
bool Fits(Parts pattern, Parts path, std::vector<std::string>* args) {
  if (pattern.empty()) return path.empty();
  if (path.empty()) return false;
  if (pattern[0] == "{*}") {
    for (size_t taken = path.size(); taken >= 1; --taken) {
      std::vector<std::string> rest;
      if (!Fits(pattern.subspan(1), path.subspan(taken), &rest)) continue;
      std::string joined;
      for (std::string_view part : path.first(taken)) {
        if (!joined.empty()) joined += '/';
        joined += part;
      }
      args->push_back(std::move(joined));
      args->insert(args->end(), rest.begin(), rest.end());
      return true;
    }
    return false;
  }
  if (pattern[0] == "{}") {
    args->emplace_back(path[0]);
  } else if (pattern[0] != path[0]) {
    return false;
  }
  return Fits(pattern.subspan(1), path.subspan(1), args);
}

void SendError(wire::Exchange& exchange, int status, const std::string& message) {
  exchange.headers().Set("Content-Type", "application/json");
  Result<> sent = exchange.Respond(status, Json::MakeObject({{"message", message}}).Dump() + "\n");
  if (!sent.ok()) log::Debug("{}", sent.error().message());
}

}  // namespace

std::optional<Match> FindRoute(std::span<const Route> routes, std::string_view method,
                               std::string_view path) {
  std::vector<std::string_view> parts = SplitPath(path);
  for (const Route& route : routes) {
    if (route.method != method) continue;
    Match match{&route, {}};
    if (Fits(SplitPath(route.pattern), parts, &match.args)) return match;
  }
  return std::nullopt;
}

Result<Versioned> SplitVersion(std::string_view path, int min_minor) {
  if (!path.starts_with("/v") || path.size() < 3 || path[2] < '0' || path[2] > '9') {
    return Versioned{kMaxMinor, path};
  }
  std::string_view version = path.substr(2, path.find('/', 1) - 2);
  int major = 0;
  int minor = 0;
  const char* end = version.data() + version.size();
  auto [dot, major_error] = std::from_chars(version.data(), end, major);
  bool good = major_error == std::errc() && dot != end && *dot == '.';
  if (good) {
    auto [last, minor_error] = std::from_chars(dot + 1, end, minor);
    good = minor_error == std::errc() && last == end;
  }
  if (!good) return Versioned{kMaxMinor, path};
  if (major < 1 || (major == 1 && minor < min_minor)) {
    return InvalidArgument(
        "client version {} is too old. Minimum supported API version is 1.{}, please upgrade your "
        "client to a newer version",
        version, min_minor);
  }
  if (major > 1 || minor > kMaxMinor) {
    return InvalidArgument("client version {} is too new. Maximum supported API version is 1.{}",
                           version, kMaxMinor);
  }
  return Versioned{minor, path.substr(2 + version.size())};
}

void Serve(ApiParts& parts, wire::Exchange& exchange) {
  wire::HttpHeaders& headers = exchange.headers();
  headers.Set("Api-Version", fmt::format("1.{}", kMaxMinor));
  headers.Set("Docker-Experimental", parts.engine.settings()->experimental ? "true" : "false");
  headers.Set("Ostype", "linux");
  headers.Set("Server", "Gantry/" GANTRY_VERSION " (linux)");
  Result<Versioned> versioned =
      SplitVersion(exchange.path(), parts.engine.settings()->min_api_minor);
  if (!versioned.ok()) return SendError(exchange, 400, versioned.error().message());
  const std::string& method = exchange.request().method;
  std::optional<Match> match = FindRoute(Routes(), method, versioned->path);
  if (!match) return SendError(exchange, 404, "page not found");
  Call call{parts, exchange, versioned->minor, std::move(match->args), match->route->form};
  Result<> done = match->route->handler(call);
  if (done.ok()) return;
  int status = StatusOf(done.error());
  if (status >= 500 && status != 501) {
    log::Warning("{} {}: {}", method, exchange.path(), done.error().message());
  } else {
    log::Debug("{} {}: {}", method, exchange.path(), done.error().message());
  }
  if (!exchange.begun()) SendError(exchange, status, done.error().message());
}

}  // namespace gantry::engine::api
