// SPDX-License-Identifier: Apache-2.0
//
// /volumes. Each function answers one route (routes.cc).
#pragma once

#include "engine/api/api.h"

namespace gantry::engine::api {

Result<> ListVolumes(Call& call);
Result<> CreateVolume(Call& call);
Result<> InspectVolume(Call& call);
Result<> RemoveVolume(Call& call);
Result<> PruneVolumes(Call& call);

// {"Name": …} of one volume, as lists and inspect show it.
formats::Json VolumeDocument(const volumes::Volumes& volumes, const volumes::Volume& volume);

}  // namespace gantry::engine::api
