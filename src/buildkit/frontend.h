// SPDX-License-Identifier: Apache-2.0
//
// The front end dockerfile.v0: options of BuildKit's clients, and the build that they ask for.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/byte_stream.h"
#include "base/error.h"
#include "base/stop_token.h"
#include "build/builds.h"
#include "buildkit/frontend_options.h"
#include "buildkit/job.h"
#include "buildkit/made.h"
#include "buildkit/rpc.h"
#include "buildkit/session.h"

namespace gantry::buildkit {

// Results that stand for what an option calls "input:NAME"; "context" and "dockerfile" for the
// client's directories.
using FrontendInputs = std::map<std::string, std::unique_ptr<Made>>;

// Another front end's image, which the Dockerfile's "# syntax" or the argument BUILDKIT_SYNTAX
// names.
struct ForwardTo {
  std::string image;
  std::string line;  // the name with what stands behind it
};

// One of these.
struct FrontendAnswer {
  std::unique_ptr<Made> made;                   // not stored yet
  std::map<std::string, std::string> metadata;  // where the client asks something ("requestid")
  std::optional<ForwardTo> forward;
};

struct FrontendCall {
  engine::Engine& engine;
  build::Builds& builds;
  const FrontendOptions& options;
  std::shared_ptr<Session> session;
  Job& job;  // outlives what is made
  const StopToken& stop;
  ErrorDetails* details;        // gets the lines of the Dockerfile that an error is about
  bool one_of_several = false;  // platforms
};

// Fetches Dockerfile and context from the session and makes the image, or answers what is asked of
// the Dockerfile instead.
Result<FrontendAnswer> RunFrontend(const FrontendCall& call, FrontendInputs inputs);

// The image of a request that is read already. `body`: a tar of the context, else `session` has it;
// `session` may be nullptr. kUnimplemented where another front end is named.
Result<std::unique_ptr<Made>> RunBuild(engine::Engine& engine, build::Builds& builds,
                                       build::BuildRequest request, ByteSource* body,
                                       std::shared_ptr<Session> session, Job& job,
                                       const StopToken& stop);

}  // namespace gantry::buildkit
