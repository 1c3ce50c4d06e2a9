// SPDX-License-Identifier: Apache-2.0
//
// The route table of the Engine API.
#include "engine/api/absent_handlers.h"
#include "engine/api/archive_handlers.h"
#include "engine/api/attach_handlers.h"
#include "engine/api/budget_handlers.h"
#include "engine/api/build_handlers.h"
#include "engine/api/container_handlers.h"
#include "engine/api/container_list.h"
#include "engine/api/exec_handlers.h"
#include "engine/api/image_handlers.h"
#include "engine/api/image_list.h"
#include "engine/api/image_prune.h"
#include "engine/api/info.h"
#include "engine/api/network_handlers.h"
#include "engine/api/registry_handlers.h"
#include "engine/api/router.h"
#include "engine/api/stats_feed.h"
#include "engine/api/stream_handlers.h"
#include "engine/api/system_handlers.h"
#include "engine/api/usage_handlers.h"
#include "engine/api/volume_handlers.h"

namespace gantry::engine::api {
namespace {

constexpr Route kRoutes[] = {
    {"GET", "/_ping", Ping},
    {"HEAD", "/_ping", Ping},
    {"GET", "/version", GetVersion, AnswerForm::kVersion},
    {"GET", "/info", GetInfo, AnswerForm::kInfo},
    {"GET", "/events", GetEvents},
    {"POST", "/auth", CheckAuth},
    {"GET", "/system/df", GetDiskUsage, AnswerForm::kDiskUsage},
    {"GET", "/system/budget", ExplainDiskBudget},  // gantry's own
    {"POST", "/system/budget", KeepDiskBudget},    // gantry's own

    {"GET", "/containers/json", ListContainers, AnswerForm::kContainerList},
    {"POST", "/containers/create", CreateContainer},
    {"POST", "/containers/prune", PruneContainers},
    // A container's name may be that of a link's end: PARENT/ALIAS.
    {"GET", "/containers/{*}/json", InspectContainer, AnswerForm::kContainer},
    {"GET", "/containers/{*}/archive", GetArchive},
    {"HEAD", "/containers/{*}/archive", StatArchivePath},
    {"PUT", "/containers/{*}/archive", PutArchive},
    {"GET", "/containers/{*}/changes", ContainerChanges},
    {"GET", "/containers/{*}/export", ExportContainer},
    {"GET", "/containers/{*}/top", TopContainer},
    {"GET", "/containers/{*}/explain", ExplainContainer},  // gantry's own
    {"GET", "/containers/{*}/trace", TraceContainer},      // gantry's own
    {"GET", "/containers/{*}/logs", GetLogs},
    {"GET", "/containers/{*}/stats", GetStats},
    {"POST", "/containers/{*}/start", StartContainer},
    {"POST", "/containers/{*}/stop", StopContainer},
    {"POST", "/containers/{*}/restart", RestartContainer},
    {"POST", "/containers/{*}/kill", KillContainer},
    {"POST", "/containers/{*}/pause", PauseContainer},
    {"POST", "/containers/{*}/unpause", UnpauseContainer},
    {"POST", "/containers/{*}/wait", WaitContainer},
    {"POST", "/containers/{*}/resize", ResizeContainer},
    {"POST", "/containers/{*}/rename", RenameContainer},
    {"POST", "/containers/{*}/update", UpdateContainer},
    {"POST", "/containers/{*}/attach", AttachContainer},
    {"GET", "/containers/{*}/attach/ws", AttachWebSocket},
    {"GET", "/containers/{*}/checkpoints", RefuseCheckpoint},
    {"POST", "/containers/{*}/checkpoints", RefuseCheckpoint},
    {"DELETE", "/containers/{*}/checkpoints/{}", RefuseCheckpoint},
    {"DELETE", "/containers/{*}", RemoveContainer},

    {"POST", "/containers/{*}/exec", CreateExec},
    {"POST", "/exec/{}/start", StartExec},
    {"POST", "/exec/{}/resize", ResizeExec},
    {"GET", "/exec/{}/json", InspectExec},

    {"POST", "/commit", CommitContainer},
    {"GET", "/images/json", ListImages, AnswerForm::kImageList},
    {"POST", "/images/create", PullImage},
    {"POST", "/images/load", LoadImages},
    {"POST", "/images/prune", PruneImages},
    {"GET", "/images/search", SearchImages},
    {"GET", "/images/get", SaveImages},
    {"GET", "/images/{*}/get", SaveImages},
    {"GET", "/images/{*}/json", InspectImage, AnswerForm::kImage},
    {"GET", "/images/{*}/attestations", ImageAttestations},
    {"GET", "/images/{*}/history", ImageHistory},
    {"POST", "/images/{*}/tag", TagImage},
    {"POST", "/images/{*}/push", PushImage},
    {"DELETE", "/images/{*}", RemoveImage},

    {"GET", "/distribution/{*}/json", GetDistribution},
    {"POST", "/build", BuildImage},
    {"POST", "/build/prune", PruneBuildCache},
    {"POST", "/build/cancel", CancelBuild},
    {"POST", "/session", ServeBuildSession},
    {"POST", "/grpc", ServeBuildKit},

    {"GET", "/networks", ListNetworks, AnswerForm::kNetworkList},
    {"POST", "/networks/create", CreateNetwork},
    {"POST", "/networks/prune", PruneNetworks},
    {"GET", "/networks/{}", InspectNetwork, AnswerForm::kNetwork},
    {"DELETE", "/networks/{}", RemoveNetwork},
    {"POST", "/networks/{}/connect", ConnectNetwork},
    {"POST", "/networks/{}/disconnect", DisconnectNetwork},

    {"GET", "/volumes", ListVolumes, AnswerForm::kVolume},
    {"GET", "/volumes/{}", InspectVolume},
    {"POST", "/volumes/create", CreateVolume},
    {"POST", "/volumes/prune", PruneVolumes},
    {"PUT", "/volumes/{}", NoClusterVolume},
    {"DELETE", "/volumes/{}", RemoveVolume},

    {"GET", "/plugins", ListPlugins},
    {"GET", "/plugins/privileges", NoPlugins},
    {"POST", "/plugins/pull", NoPlugins},
    {"POST", "/plugins/create", NoPlugins},
    {"GET", "/plugins/{*}/json", NoSuchPlugin},
    {"POST", "/plugins/{*}/enable", NoSuchPlugin},
    {"POST", "/plugins/{*}/disable", NoSuchPlugin},
    {"POST", "/plugins/{*}/push", NoSuchPlugin},
    {"POST", "/plugins/{*}/set", NoSuchPlugin},
    {"POST", "/plugins/{*}/upgrade", NoPlugins},
    {"DELETE", "/plugins/{*}", NoSuchPlugin},

    {"GET", "/swarm", NoSwarmManager},
    {"POST", "/swarm/init", NoSwarmMode},
    {"POST", "/swarm/join", NoSwarmMode},
    {"POST", "/swarm/leave", LeaveSwarm},
    {"POST", "/swarm/update", NoSwarmManagerForBody},
    {"GET", "/swarm/unlockkey", NoSwarmManager},
    {"POST", "/swarm/unlock", NoSwarmManagerForBody},
    {"GET", "/nodes", NoSwarmManager},
    {"GET", "/nodes/{}", NoSwarmManager},
    {"DELETE", "/nodes/{}", NoSwarmManager},
    {"POST", "/nodes/{}/update", NoSwarmManagerForBody},
    {"GET", "/services", NoSwarmManager},
    {"POST", "/services/create", NoSwarmManagerForBody},
    {"GET", "/services/{}", NoSwarmManager},
    {"DELETE", "/services/{}", NoSwarmManager},
    {"POST", "/services/{}/update", NoSwarmManagerForBody},
    {"GET", "/services/{}/logs", NoSwarmManager},
    {"GET", "/tasks", NoSwarmManager},
    {"GET", "/tasks/{}", NoSwarmManager},
    {"GET", "/tasks/{}/logs", NoSwarmManager},
    {"GET", "/secrets", NoSwarmManager},
    {"POST", "/secrets/create", NoSwarmManagerForBody},
    {"GET", "/secrets/{}", NoSwarmManager},
    {"DELETE", "/secrets/{}", NoSwarmManager},
    {"POST", "/secrets/{}/update", NoSwarmManagerForBody},
    {"GET", "/configs", NoSwarmManager},
    {"POST", "/configs/create", NoSwarmManagerForBody},
    {"GET", "/configs/{}", NoSwarmManager},
    {"DELETE", "/configs/{}", NoSwarmManager},
    {"POST", "/configs/{}/update", NoSwarmManagerForBody},

    {"OPTIONS", "/{*}", AnswerOptions},
};

}  // namespace

std::span<const Route> Routes() { return kRoutes; }

}  // namespace gantry::engine::api
