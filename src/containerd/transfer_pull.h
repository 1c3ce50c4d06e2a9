// SPDX-License-Identifier: Apache-2.0
//
// Pulling for the Transfer service: the registry's address and credentials come from the client.
#pragma once

#include "containerd/parts.h"
#include "containerd/rpc.h"
#include "containerd/types/transfer/imagestore.pb.h"
#include "containerd/types/transfer/registry.pb.h"
#include "images/library.h"

namespace gantry::containerd {

// Blocks. Credentials are asked for over the stream that the source names.
Result<> PullImage(Parts* parts, const Caller& caller, const images::Library& library,
                   const ::containerd::types::transfer::OCIRegistry& from,
                   const ::containerd::types::transfer::ImageStore& to,
                   images::BeforeRecord before_record);

}  // namespace gantry::containerd
