// SPDX-License-Identifier: Apache-2.0
//
// ADDRESS.ttrpc: where shims send their events (containerd.services.events.ttrpc.v1.Events,
// Forward). Runs in the loop's thread.
#pragma once

#include <memory>
#include <string>

#include "base/error.h"
#include "base/event_loop.h"

namespace gantry::containerd {

class EventExchange;

class EventListener {
 public:
  // Blocks until the loop's thread has taken it over; so it does in the destructor.
  static Result<std::unique_ptr<EventListener>> Start(const std::string& path, EventLoop* loop,
                                                      EventExchange* events);
  ~EventListener();

 private:
  struct State;
  EventListener(EventLoop* loop, std::shared_ptr<State> state, std::string path);
  EventLoop* loop_;
  std::shared_ptr<State> state_;
  const std::string path_;
};

}  // namespace gantry::containerd
