// SPDX-License-Identifier: Apache-2.0
#include "engine/api/system_handlers.h"

#include <utility>

#include "engine/host_info.h"

namespace gantry::engine::api {
namespace {

using formats::Json;

// Clients want it to say something.
constexpr std::string_view kGoVersion = "none (C++20)";

std::string MinVersion(Call& call) {
  return fmt::format("1.{}", call.engine().settings()->min_api_minor);
}

std::string DaemonVersion(Call& call) {
  Result<std::string> version = call.engine().containerd().Version(std::chrono::seconds(2));
  return version.ok() ? *version : "";
}

}  // namespace

Result<> Ping(Call& call) {
  wire::HttpHeaders& headers = call.exchange.headers();
  headers.Set("Builder-Version", "1");
  headers.Set("Swarm", "inactive");
  headers.Set("Cache-Control", "no-cache, no-store, must-revalidate");
  headers.Set("Pragma", "no-cache");
  headers.Set("Content-Type", "text/plain; charset=utf-8");
  bool head = call.exchange.request().method == "HEAD";
  return call.exchange.Respond(200, head ? "" : "OK");
}

Result<> GetVersion(Call& call) {
  ActionTimer timer(call.engine().action_times(), "host system_version");
  HostInfo host = ReadHostInfo();
  bool experimental = call.engine().settings()->experimental;
  Json details = Json::MakeObject({{"ApiVersion", fmt::format("1.{}", kMaxMinor)},
                                   {"Arch", host.go_architecture},
                                   {"Experimental", experimental ? "true" : "false"},
                                   {"GitCommit", ""},
                                   {"GoVersion", kGoVersion},
                                   {"KernelVersion", host.kernel_version},
                                   {"MinAPIVersion", MinVersion(call)},
                                   {"Os", "linux"}});
  Json components = Json::MakeArray(
      {Json::MakeObject({{"Name", "Engine"}, {"Version", GANTRY_VERSION}, {"Details", details}})});
  std::string daemon = DaemonVersion(call);
  if (!daemon.empty()) {
    components.Append(Json::MakeObject(
        {{"Name", "containerd"}, {"Version", daemon}, {"Details", Json::MakeObject()}}));
  }
  Json out = Json::MakeObject({{"Platform", Json::MakeObject({{"Name", "gantry"}})},
                               {"Components", components},
                               {"Version", GANTRY_VERSION},
                               {"ApiVersion", fmt::format("1.{}", kMaxMinor)},
                               {"MinAPIVersion", MinVersion(call)},
                               {"GitCommit", ""},
                               {"GoVersion", kGoVersion},
                               {"Os", "linux"},
                               {"Arch", host.go_architecture},
                               {"KernelVersion", host.kernel_version}});
  // Docker leaves it out when it is not so.
  if (experimental) out.Set("Experimental", true);
  timer.Done();
  return RespondJson(call, 200, std::move(out));
}

}  // namespace gantry::engine::api
