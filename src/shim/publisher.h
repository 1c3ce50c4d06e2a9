// SPDX-License-Identifier: Apache-2.0
//
// Sends the container's events to containerd's ttrpc socket (Forward), one at a time, so in order.
// While the daemon is away up to 2048 events wait, the oldest is dropped beyond that; a restarted
// daemon gets them. The loop's thread; never blocks.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>

#include "base/event_loop.h"
#include "containerd/services/events/ttrpc/v1/events.plain.h"
#include "wire/ttrpc.h"

namespace gantry::shim {

class Publisher {
 public:
  Publisher(EventLoop* loop, std::string address, std::string name_space);
  ~Publisher();

  // `type`: the event's full protobuf name; `event`: encoded.
  void Publish(std::string_view topic, std::string_view type, std::string event);
  enum class Flushed : uint8_t { kAll, kNotYet };
  // Runs `done` when nothing is waiting, or when `limit` is over. Called again it replaces both,
  // and what waits to be sent again is sent now.
  void WhenFlushed(std::chrono::milliseconds limit, std::function<void(Flushed)> done);

 private:
  void SendFront();
  void OnAnswer(Result<std::string> result);
  void Retry();
  void CheckFlushed();

  EventLoop* loop_;
  std::string address_;
  std::string namespace_;
  std::unique_ptr<wire::TtrpcClient> client_;
  std::deque<std::string> queue_;  // encoded requests
  int refusals_ = 0;               // of the front event, by a daemon that is there
  int failures_ = 0;               // connections that failed, one after the other
  bool in_flight_ = false;
  EventLoop::TimerId retry_ = 0;  // 0: none is set
  EventLoop::TimerId flush_limit_ = 0;
  std::function<void(Flushed)> flushed_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace gantry::shim
