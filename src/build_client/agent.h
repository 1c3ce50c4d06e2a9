// SPDX-License-Identifier: Apache-2.0
//
// A connection from a build's step to the user's ssh agent (moby.sshforward.v1.SSH/ForwardAgent):
// the call's messages are its bytes. One thread: the loop's.
#pragma once

#include <memory>
#include <string>

#include "base/event_loop.h"
#include "base/unique_fd.h"
#include "wire/grpc_connection.h"

namespace gantry::build_client {

// `socket`: the path of the agent's. What can't be connected ends the call with an error.
void ForwardAgent(EventLoop& loop, const std::shared_ptr<wire::GrpcCall>& call,
                  const std::string& socket);

}  // namespace gantry::build_client
