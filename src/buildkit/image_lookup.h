// SPDX-License-Identifier: Apache-2.0
//
// Images that a build names: those that are here, else pulled with what its client knows of
// registries. Any thread; a call blocks.
#pragma once

#include <functional>
#include <string>

#include "base/error.h"
#include "base/stop_token.h"
#include "buildkit/job.h"
#include "buildkit/shared.h"
#include "engine/image_index.h"
#include "moby/buildkit/ops.pb.h"

namespace gantry::buildkit {

struct JobImage {
  std::string name;
  pb::Platform platform;  // without a system: the host's
  bool pulls = false;     // even if one is here
  // Keeps it from being removed; false: it is too late. Unset: who asks wants its documents alone.
  std::function<Result<bool>(const engine::NamedImage& image)> hold = {};
};

// A step of the build's progress.
Result<engine::NamedImage> FindJobImage(Shared& shared, Job& job, const JobImage& wanted,
                                        const StopToken& stop);

}  // namespace gantry::buildkit
