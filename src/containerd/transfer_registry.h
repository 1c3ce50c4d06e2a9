// SPDX-License-Identifier: Apache-2.0
//
// Pulling and pushing for the Transfer service: the registry's address and credentials come from
// the client, how it is reached also from the configuration of hosts.
#pragma once

#include "containerd/parts.h"
#include "containerd/rpc.h"
#include "containerd/types/transfer/imagestore.pb.h"
#include "containerd/types/transfer/registry.pb.h"
#include "images/library.h"

namespace gantry::containerd {

// Both block. Credentials are asked for over the stream that the registry's message names.
Result<> PullImage(Parts* parts, const Caller& caller, const images::Library& library,
                   const ::containerd::types::transfer::OCIRegistry& from,
                   const ::containerd::types::transfer::ImageStore& to);
Result<> PushImage(Parts* parts, const Caller& caller, const images::Library& library,
                   const ::containerd::types::transfer::ImageStore& from,
                   const ::containerd::types::transfer::OCIRegistry& to);

}  // namespace gantry::containerd
