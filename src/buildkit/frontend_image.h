// SPDX-License-Identifier: Apache-2.0
//
// Front ends that are images ("# syntax=IMAGE", gateway.v0): the image's program runs in a
// container of the build and calls LLBBridge in HTTP/2 over its own stdin and stdout:
//
//   program <-- stdin, stdout: frames of attach -- StdioRelay <-- socket pair --> gRPC server
//
// What it sends is hostile; what it calls is what a client of the build may call. Any thread; the
// call blocks.
#pragma once

#include <memory>

#include "base/error.h"
#include "base/stop_token.h"
#include "buildkit/frontend.h"
#include "buildkit/frontend_run.h"
#include "buildkit/job.h"
#include "buildkit/shared.h"
#include "buildkit/solve.h"

namespace gantry::buildkit {

struct FrontendImage {
  FrontendOptions options;  // "source" names it
  InputDefinitions inputs;
  int depth = 1;  // among front ends that run each other, from 1 on
};

// To the end of its container. What it has returned; an error is the front end's own, or says how
// it broke.
Result<Solved> RunFrontendImage(Shared& shared, const std::shared_ptr<Job>& job,
                                FrontendImage frontend, const StopToken& stop);

}  // namespace gantry::buildkit
