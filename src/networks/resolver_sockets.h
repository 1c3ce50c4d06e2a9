// SPDX-License-Identifier: Apache-2.0
//
// Where a container's resolver listens (docs/resolver.md): sockets inside its namespace, on
// 127.0.0.11, which port 53 leads to. gantry-proxy gets them. Any thread.
#pragma once

#include "base/error.h"
#include "base/unique_fd.h"

namespace gantry::networks {

struct ResolverSockets {
  UniqueFd udp;
  UniqueFd tcp;
};

// In place of those that an earlier resolver of the namespace had.
Result<ResolverSockets> OpenResolver(BorrowedFd netns);

}  // namespace gantry::networks
