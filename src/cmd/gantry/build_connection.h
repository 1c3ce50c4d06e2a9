// SPDX-License-Identifier: Apache-2.0
//
// Connections to the engine's BuildKit: POST /grpc and POST /session with an upgrade to HTTP/2.
#pragma once

#include <string>
#include <vector>

#include "build_client/solve.h"
#include "cmd/gantry/api.h"

namespace gantry::cli {

// For calls to the engine. kUnimplemented when it has no BuildKit.
Result<build_client::Upgraded> ConnectBuildKit(Api* api);

struct SessionHead {
  std::string id;
  std::string name;        // for people
  std::string shared_key;  // whose files an earlier session's are; "": nobody's
  std::vector<std::string> methods;
};
// For calls of the engine.
Result<build_client::Upgraded> ConnectBuildSession(Api* api, const SessionHead& head);

}  // namespace gantry::cli
