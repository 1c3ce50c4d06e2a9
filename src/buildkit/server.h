// SPDX-License-Identifier: Apache-2.0
//
// BuildKit's API on connections that the engine's HTTP server has handed over: Control and
// LLBBridge for POST /grpc, sessions for POST /session (docs/build.md). Dockerfiles are built by
// the engine's own builder; definitions of LLB by their solver (src/llb). Any thread.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/error.h"
#include "base/unique_fd.h"
#include "build/builds.h"
#include "buildkit/http_build.h"
#include "buildkit/session.h"
#include "engine/engine.h"
#include "engine/execs.h"
#include "wire/worker_pool.h"

namespace gantry::buildkit {

class Server {
 public:
  Server(engine::Engine& engine, engine::Execs& execs, build::Builds& builds,
         wire::WorkerPool& workers);
  ~Server();

  // HTTP/2 follows on the connection, which is non-blocking.
  Result<> Serve(UniqueFd connection);
  // As RunHttpBuild (http_build.h).
  Result<std::string> Build(HttpBuild build,
                            const std::function<void(const std::string& update)>& tell,
                            const StopToken& stop);
  // The context of the build with that reference, whose request is another one. Returns when the
  // build has it. kNotFound: no build has come for it.
  Result<> Upload(const std::string& ref, ByteSource& body);
  // The client serves on it.
  Result<> AddSession(SessionHead head, UniqueFd connection);

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace gantry::buildkit
