// SPDX-License-Identifier: Apache-2.0
//
// Control.Session: a client's session for those who have no POST /session (buildctl). The stream's
// messages are the bytes of its connection, on which the roles are turned (session.h):
//
//   client  <-- messages --  stream  <-- worker --  socket pair  --  Session's channel
#pragma once

#include <grpcpp/grpcpp.h>

#include "buildkit/shared.h"
#include "moby/buildkit/control.pb.h"

namespace gantry::buildkit {

// The call's metadata says whose session it is and what it serves, as the headers of POST /session.
grpc::ServerBidiReactor<moby::buildkit::v1::BytesMessage, moby::buildkit::v1::BytesMessage>*
ServeSessionStream(Shared& shared, const grpc::CallbackServerContext& context);

}  // namespace gantry::buildkit
