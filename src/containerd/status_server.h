// SPDX-License-Identifier: Apache-2.0
//
// What operators look at over HTTP: metrics for Prometheus on a TCP address, the daemon's insides
// on the debug socket. GET only:
//
//   /metrics, /v1/metrics   on both
//   /debug/vars             the state as JSON
//   /debug/threads          each thread: name, state, where it waits in the kernel
#pragma once

#include <memory>
#include <string>

#include "base/error.h"
#include "wire/http_server.h"
#include "wire/loop_thread.h"

namespace gantry::containerd {

class CallMetrics;
struct Options;
struct Parts;

class StatusServer {
 public:
  // Listens where the options say, which may be nowhere: then it is null. Everything outlives it.
  static Result<std::unique_ptr<StatusServer>> Start(const Options& options, Parts* parts,
                                                     CallMetrics* calls);
  ~StatusServer();

 private:
  StatusServer(Parts* parts, CallMetrics* calls) : parts_(parts), calls_(calls) {}
  Result<> Listen(const Options& options);
  void Handle(wire::Exchange& exchange, bool debug);
  std::string Metrics();

  Parts* parts_;
  CallMetrics* calls_;
  std::string debug_path_;
  std::unique_ptr<wire::LoopThread> parked_;
  std::shared_ptr<wire::HttpServer> metrics_server_;
  std::shared_ptr<wire::HttpServer> debug_server_;
};

}  // namespace gantry::containerd
