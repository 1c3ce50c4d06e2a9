// SPDX-License-Identifier: Apache-2.0
//
// kernel::OomEvents on the shim's event loop. The loop's thread.
#pragma once

#include <functional>
#include <memory>

#include "base/event_loop.h"
#include "base/unique_fd.h"
#include "kernel/oom_events.h"

namespace gantry::shim {

class OomWatch {
 public:
  static Result<std::unique_ptr<OomWatch>> Create(EventLoop* loop, const kernel::CgroupPaths& paths,
                                                  std::function<void()> on_oom);
  ~OomWatch();

 private:
  OomWatch(EventLoop* loop, kernel::OomEvents events, std::function<void()> on_oom)
      : loop_(loop), events_(std::move(events)), on_oom_(std::move(on_oom)) {}
  void Read();

  EventLoop* loop_;
  kernel::OomEvents events_;
  std::function<void()> on_oom_;
};

}  // namespace gantry::shim
