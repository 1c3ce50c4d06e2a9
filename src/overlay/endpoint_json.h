// SPDX-License-Identifier: Apache-2.0
//
// An endpoint as hosts tell each other of it.
#pragma once

#include <string>
#include <string_view>

#include "networks/cluster.h"

namespace gantry::overlay {

// `host_id` beside the endpoint: whose it is.
struct TaggedEndpoint {
  std::string host_id;
  networks::ClusterEndpoint endpoint;
};

std::string EncodeEndpoint(const TaggedEndpoint& tagged);
Result<TaggedEndpoint> DecodeEndpoint(std::string_view text);

}  // namespace gantry::overlay
