// SPDX-License-Identifier: Apache-2.0
//
// The gRPC listener of gantry-containerd: a unix socket, mode 0660. Requests compute on gRPC's
// threads or on workers; what waits holds no thread (docs/connections.md).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "containerd/parts.h"

namespace gantry::containerd {

class Server {
 public:
  // Listens from here on. A socket that is there already is replaced.
  static Result<std::unique_ptr<Server>> Start(
      const std::string& address, std::vector<std::unique_ptr<grpc::Service>> services);
  ~Server();
  // Refuses new requests, gives running ones some seconds, then cancels them.
  void Stop();

 private:
  struct State;
  explicit Server(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace gantry::containerd
