// SPDX-License-Identifier: Apache-2.0
//
// The gRPC listener of gantry-containerd: a unix socket, mode 0660. Requests compute on gRPC's
// threads or on workers; what waits holds no thread (docs/connections.md).
#pragma once

#include <grpcpp/channel.h>

#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "containerd/call_metrics.h"
#include "containerd/options.h"
#include "containerd/parts.h"

namespace gantry::containerd {

class Server {
 public:
  // Listens from here on. A socket that is there already is replaced.
  static Result<std::unique_ptr<Server>> Start(
      const Options& options, CallMetrics* calls,
      std::vector<std::unique_ptr<grpc::Service>> services);
  ~Server();
  // For a part of this daemon that is a client of it. Ends with the server.
  std::shared_ptr<grpc::Channel> OwnChannel() const;
  // Refuses new requests, gives running ones a moment, then cancels them. False when some do not
  // end all the same, since a shim does not answer: then only the end of the process is left.
  bool Stop();

 private:
  struct State;
  explicit Server(std::shared_ptr<State> state);
  std::shared_ptr<State> state_;
};

}  // namespace gantry::containerd
