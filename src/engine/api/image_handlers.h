// SPDX-License-Identifier: Apache-2.0
//
// Handlers of /images. They run on workers.
#pragma once

#include "engine/api/api.h"

namespace gantry::engine::api {

Result<> PullImage(Call& call);
Result<> CommitContainer(Call& call);
Result<> LoadImages(Call& call);
Result<> SaveImages(Call& call);
Result<> InspectImage(Call& call);
Result<> ImageAttestations(Call& call);
Result<> ImageHistory(Call& call);
Result<> TagImage(Call& call);
Result<> RemoveImage(Call& call);

}  // namespace gantry::engine::api
