// SPDX-License-Identifier: Apache-2.0
//
// --metrics-addr: GET /metrics in Prometheus' text form, with dockerd's names where it has the
// figure (engine_daemon_…), and this process's own (process_…). Any thread.
#pragma once

#include <memory>
#include <string>

#include "base/error.h"
#include "build/builds.h"
#include "engine/engine.h"
#include "engine/event_log.h"
#include "wire/http_server.h"

namespace gantry::gantryd {

// `address`: HOST:PORT. Everything outlives the server.
Result<std::shared_ptr<wire::HttpServer>> ServeMetrics(
    const std::string& address, engine::Engine& engine, engine::EventLog& events,
    build::Builds& builds, wire::WorkerPool& workers, EventLoop& parked);

}  // namespace gantry::gantryd
