// SPDX-License-Identifier: Apache-2.0
//
// The front end dockerfile.v0: options of BuildKit's clients, and the build that they ask for.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "base/byte_stream.h"
#include "base/error.h"
#include "base/stop_token.h"
#include "build/builds.h"
#include "buildkit/job.h"
#include "buildkit/made.h"
#include "buildkit/rpc.h"
#include "buildkit/session.h"

namespace gantry::buildkit {

using FrontendOptions = std::map<std::string, std::string>;
// Results that stand for what an option calls "input:NAME".
using FrontendInputs = std::map<std::string, std::unique_ptr<Made>>;

// kInvalidArgument, or kUnimplemented for what this front end does not have.
Result<build::BuildRequest> ReadFrontendOptions(const FrontendOptions& options);

// kUnimplemented unless the front end of this name is the one that is here: "docker/dockerfile:1",
// as "# syntax" and gateway.v0 have it, from whatever registry.
Result<> CheckFrontendImage(const std::string& source);

// What the client asks of the Dockerfile instead of a build ("requestid" of the options): metadata
// of the answer.
Result<std::map<std::string, std::string>> AnswerRequest(engine::Engine& engine,
                                                         const FrontendOptions& options,
                                                         std::shared_ptr<Session> session, Job& job,
                                                         const StopToken& stop);

struct FrontendRun {
  engine::Engine& engine;
  build::Builds& builds;
  const FrontendOptions& options;
  std::shared_ptr<Session> session;
  Job& job;  // outlives what is made
  const StopToken& stop;
  ErrorDetails* details;  // gets the lines of the Dockerfile that an error is about
};
// Fetches Dockerfile and context from the session and makes the image, which is not stored yet.
Result<std::unique_ptr<Made>> RunFrontend(const FrontendRun& run, FrontendInputs inputs);

// The same for a request that is read already. `body`: a tar of the context, else `session` has it;
// `session` may be nullptr.
Result<std::unique_ptr<Made>> RunBuild(engine::Engine& engine, build::Builds& builds,
                                       build::BuildRequest request, ByteSource* body,
                                       std::shared_ptr<Session> session, Job& job,
                                       const StopToken& stop);

}  // namespace gantry::buildkit
