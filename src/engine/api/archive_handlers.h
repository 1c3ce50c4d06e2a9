// SPDX-License-Identifier: Apache-2.0
//
// /containers/{}/archive (docker cp), /changes and /export. Each function answers one route
// (routes.cc).
#pragma once

#include "engine/api/api.h"

namespace gantry::engine::api {

Result<> StatArchivePath(Call& call);
Result<> GetArchive(Call& call);
Result<> PutArchive(Call& call);
Result<> ExportContainer(Call& call);
Result<> ContainerChanges(Call& call);

}  // namespace gantry::engine::api
