// SPDX-License-Identifier: Apache-2.0
//
// Handlers of /containers: life cycle, list, inspect. They run on workers.
#pragma once

#include "engine/api/api.h"

namespace gantry::engine::api {

Result<> CreateContainer(Call& call);
Result<> PruneContainers(Call& call);
Result<> InspectContainer(Call& call);
Result<> TopContainer(Call& call);
Result<> ExplainContainer(Call& call);
Result<> TraceContainer(Call& call);
Result<> StartContainer(Call& call);
Result<> StopContainer(Call& call);
Result<> RestartContainer(Call& call);
Result<> KillContainer(Call& call);
Result<> PauseContainer(Call& call);
Result<> UnpauseContainer(Call& call);
Result<> ResizeContainer(Call& call);
Result<> RenameContainer(Call& call);
Result<> UpdateContainer(Call& call);
Result<> RemoveContainer(Call& call);
// Checkpoints belong to docker's experimental mode, which there is none of here.
Result<> RefuseCheckpoint(Call& call);

}  // namespace gantry::engine::api
