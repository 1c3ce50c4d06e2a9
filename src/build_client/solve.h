// SPDX-License-Identifier: Apache-2.0
//
// A build of BuildKit's API from its request to its end: Control.Solve, its progress, and the
// session that it asks back over. One thread, blocked meanwhile.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/event_loop.h"
#include "base/unique_fd.h"
#include "build_client/display.h"
#include "build_client/graph.h"
#include "build_client/session.h"
#include "moby/buildkit/control.plain.h"

namespace gantry::build_client {

// A connection that an upgrade has turned into HTTP/2.
struct Upgraded {
  UniqueFd socket;
  std::string received;
};

struct SolveEnd {
  std::map<std::string, std::string> response;  // what the exporters tell
  int64_t bytes_sent = 0;                       // over the session
};

struct SolveCall {
  EventLoop& loop;
  Upgraded control;
  api::SolveRequest request;
  Display& display;
  Graph& graph;
  Session& session;
  // SIGINT and SIGTERM cancel the build, which is waited for; a second one ends the wait.
  BorrowedFd signals;
};

Result<SolveEnd> Solve(SolveCall call);

// One call that needs no session, and one whose answers come until it ends.
Result<std::string> CallOnce(Upgraded control, const std::string& method,
                             const std::string& request);
Result<> CallForStream(Upgraded control, const std::string& method, const std::string& request,
                       const std::function<Result<>(std::string_view message)>& take);

}  // namespace gantry::build_client
