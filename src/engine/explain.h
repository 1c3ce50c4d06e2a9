// SPDX-License-Identifier: Apache-2.0
//
// Everything that a container is made of, on one page, for GET /containers/{id}/explain: read from
// the kernel and the container daemon when asked, nothing is kept for it. Any thread.
//
//   Chain       daemon ▶ container daemon ▶ shim ▶ init, with pids
//   Processes   those of the container
//   Namespaces  of its init, own or shared with the engine
//   Cgroup      paths, limits, use
//   Layers, Writable, Mounts, Network, Security, Log
#pragma once

#include "base/error.h"
#include "engine/container.h"
#include "engine/engine.h"
#include "formats/json.h"

namespace gantry::engine {

// One that does not run has no chain, processes, namespaces and use.
Result<formats::Json> ExplainContainer(Engine& engine, const ContainerRecord& record);

}  // namespace gantry::engine
