// SPDX-License-Identifier: Apache-2.0
//
// RUN --mount=type=ssh: who connects to a socket in the step's container speaks with an ssh agent
// of the client, each connection over a stream of its own (protos/moby/sshforward/). It ends with
// the object, with all connections. Any thread.
#pragma once

#include <memory>
#include <string>
#include <thread>

#include "base/stop_token.h"
#include "base/unique_fd.h"

namespace grpc {
class Channel;
}

namespace gantry::buildkit {

class AgentForward {
 public:
  AgentForward(std::shared_ptr<grpc::Channel> channel, std::string agent, UniqueFd listener);
  ~AgentForward();
  AgentForward(const AgentForward&) = delete;
  AgentForward& operator=(const AgentForward&) = delete;

 private:
  void Accept();
  void Forward(UniqueFd connection) const;

  const std::shared_ptr<grpc::Channel> channel_;
  const std::string agent_;
  const UniqueFd listener_;
  StopSource stop_;
  std::thread accepting_;
};

}  // namespace gantry::buildkit
