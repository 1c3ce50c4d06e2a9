// SPDX-License-Identifier: Apache-2.0
//
// The route table of the Engine API.
#include <array>

#include "engine/api/container_handlers.h"
#include "engine/api/exec_handlers.h"
#include "engine/api/image_handlers.h"
#include "engine/api/network_handlers.h"
#include "engine/api/router.h"
#include "engine/api/stream_handlers.h"
#include "engine/api/system_handlers.h"

namespace gantry::engine::api {
namespace {

constexpr auto kRoutes = std::to_array<Route>({
    {"GET", "/_ping", Ping},
    {"HEAD", "/_ping", Ping},
    {"GET", "/version", GetVersion},
    {"GET", "/info", GetInfo},
    {"GET", "/events", GetEvents},
    {"GET", "/system/df", GetDiskUsage},

    {"GET", "/containers/json", ListContainers},
    {"POST", "/containers/create", CreateContainer},
    {"POST", "/containers/prune", PruneContainers},
    {"GET", "/containers/{}/json", InspectContainer},
    {"GET", "/containers/{}/top", TopContainer},
    {"GET", "/containers/{}/explain", ExplainContainer},  // gantry's own
    {"GET", "/containers/{}/trace", TraceContainer},      // gantry's own
    {"GET", "/containers/{}/logs", GetLogs},
    {"GET", "/containers/{}/stats", GetStats},
    {"POST", "/containers/{}/start", StartContainer},
    {"POST", "/containers/{}/stop", StopContainer},
    {"POST", "/containers/{}/restart", RestartContainer},
    {"POST", "/containers/{}/kill", KillContainer},
    {"POST", "/containers/{}/pause", PauseContainer},
    {"POST", "/containers/{}/unpause", UnpauseContainer},
    {"POST", "/containers/{}/wait", WaitContainer},
    {"POST", "/containers/{}/resize", ResizeContainer},
    {"POST", "/containers/{}/rename", RenameContainer},
    {"POST", "/containers/{}/update", UpdateContainer},
    {"POST", "/containers/{}/attach", AttachContainer},
    {"DELETE", "/containers/{}", RemoveContainer},

    {"POST", "/containers/{}/exec", CreateExec},
    {"POST", "/exec/{}/start", StartExec},
    {"POST", "/exec/{}/resize", ResizeExec},
    {"GET", "/exec/{}/json", InspectExec},

    {"GET", "/images/json", ListImages},
    {"POST", "/images/create", PullImage},
    {"POST", "/images/load", LoadImages},
    {"GET", "/images/get", SaveImages},
    {"GET", "/images/{*}/get", SaveImages},
    {"GET", "/images/{*}/json", InspectImage},
    {"GET", "/images/{*}/history", ImageHistory},
    {"POST", "/images/{*}/tag", TagImage},
    {"DELETE", "/images/{*}", RemoveImage},

    {"GET", "/networks", ListNetworks},
    {"GET", "/networks/{}", InspectNetwork},
    {"GET", "/volumes", ListVolumes},
});

}  // namespace

std::span<const Route> Routes() { return kRoutes; }

}  // namespace gantry::engine::api
