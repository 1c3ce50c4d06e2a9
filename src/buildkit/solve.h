// SPDX-License-Identifier: Apache-2.0
//
// What a build is asked to make: a definition, or what a front end makes of its options. The front
// end is this engine's own, or one in an image (frontend_image.h). Any thread; calls block.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "base/error.h"
#include "base/stop_token.h"
#include "buildkit/job.h"
#include "buildkit/shared.h"
#include "moby/buildkit/ops.pb.h"

namespace gantry::buildkit {

struct Solvable {
  const pb::Definition& definition;  // without operations: a front end makes it
  const std::string& frontend;
  const google::protobuf::Map<std::string, std::string>& options;
  const google::protobuf::Map<std::string, pb::Definition>& inputs;
  ErrorDetails* details;  // gets those of an error
  int depth = 0;          // how many front ends of images wait for it
};

// Makes it for a build, or answers what is asked of the front end.
Result<Solved> Solve(Shared& shared, const std::shared_ptr<Job>& job, const Solvable& wanted,
                     const StopToken& stop);

}  // namespace gantry::buildkit
