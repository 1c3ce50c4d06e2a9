// SPDX-License-Identifier: Apache-2.0
//
// LLBBridge.ExecProcess: the processes of one caller's containers, all in one stream; each message
// says whose it is (protos/moby/buildkit/gateway.proto).
#pragma once

#include <grpcpp/grpcpp.h>

#include <functional>
#include <memory>

#include "buildkit/gateway_container.h"
#include "moby/buildkit/gateway.pb.h"
#include "wire/worker_pool.h"

namespace gantry::buildkit {

using ExecMessage = moby::buildkit::v1::frontend::ExecMessage;
// May block.
using FindContainer =
    std::function<Result<std::shared_ptr<GatewayContainer>>(const std::string& id)>;

grpc::ServerBidiReactor<ExecMessage, ExecMessage>* ServeProcesses(wire::WorkerPool& workers,
                                                                  FindContainer find);

}  // namespace gantry::buildkit
