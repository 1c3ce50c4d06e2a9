// SPDX-License-Identifier: Apache-2.0
//
// The route table of the Engine API.
#include <array>

#include "engine/api/container_handlers.h"
#include "engine/api/exec_handlers.h"
#include "engine/api/image_handlers.h"
#include "engine/api/info.h"
#include "engine/api/network_handlers.h"
#include "engine/api/router.h"
#include "engine/api/stream_handlers.h"
#include "engine/api/system_handlers.h"

namespace gantry::engine::api {
namespace {

constexpr auto kRoutes = std::to_array<Route>({
    {"GET", "/_ping", Ping},
    {"HEAD", "/_ping", Ping},
    {"GET", "/version", GetVersion, AnswerForm::kVersion},
    {"GET", "/info", GetInfo, AnswerForm::kInfo},
    {"GET", "/events", GetEvents},
    {"GET", "/system/df", GetDiskUsage, AnswerForm::kDiskUsage},

    {"GET", "/containers/json", ListContainers, AnswerForm::kContainerList},
    {"POST", "/containers/create", CreateContainer},
    {"POST", "/containers/prune", PruneContainers},
    {"GET", "/containers/{}/json", InspectContainer, AnswerForm::kContainer},
    {"GET", "/containers/{}/top", TopContainer},
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

    {"GET", "/images/json", ListImages, AnswerForm::kImageList},
    {"POST", "/images/create", PullImage},
    {"POST", "/images/load", LoadImages},
    {"GET", "/images/get", SaveImages},
    {"GET", "/images/{*}/get", SaveImages},
    {"GET", "/images/{*}/json", InspectImage, AnswerForm::kImage},
    {"GET", "/images/{*}/history", ImageHistory},
    {"POST", "/images/{*}/tag", TagImage},
    {"DELETE", "/images/{*}", RemoveImage},

    {"GET", "/networks", ListNetworks, AnswerForm::kNetworkList},
    {"GET", "/networks/{}", InspectNetwork, AnswerForm::kNetwork},
    {"GET", "/volumes", ListVolumes, AnswerForm::kVolume},
});

}  // namespace

std::span<const Route> Routes() { return kRoutes; }

}  // namespace gantry::engine::api
