// SPDX-License-Identifier: Apache-2.0
//
// What the services of BuildKit's API work on. Plain references.
#pragma once

#include <chrono>

#include "build/builds.h"
#include "buildkit/history.h"
#include "buildkit/job.h"
#include "buildkit/session.h"
#include "buildkit/uploads.h"
#include "engine/engine.h"
#include "engine/execs.h"
#include "wire/worker_pool.h"

namespace gantry::buildkit {

struct Shared {
  engine::Engine& engine;
  engine::Execs& execs;
  build::Builds& builds;
  wire::WorkerPool& workers;
  Jobs& jobs;
  Sessions& sessions;
  Uploads& uploads;
  History& history;
};

// How long a call waits for the job or session that another connection of its client brings.
inline constexpr std::chrono::seconds kBeginBound{10};

}  // namespace gantry::buildkit
