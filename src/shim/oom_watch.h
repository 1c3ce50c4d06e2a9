// SPDX-License-Identifier: Apache-2.0
//
// Tells when the kernel kills in a container's cgroup for lack of memory: v1 by an event descriptor
// on memory.oom_control, v2 by inotify on memory.events. The loop's thread.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/event_loop.h"
#include "base/unique_fd.h"
#include "kernel/cgroups.h"

namespace gantry::shim {

class OomWatch {
 public:
  static Result<std::unique_ptr<OomWatch>> Create(EventLoop* loop, const kernel::CgroupPaths& paths,
                                                  std::function<void()> on_oom);
  ~OomWatch();

 private:
  explicit OomWatch(EventLoop* loop) : loop_(loop) {}
  Result<> WatchV1(const std::string& memory);
  Result<> WatchV2(const std::string& directory);
  void ReadV1();
  void ReadV2();
  void End();

  EventLoop* loop_;
  std::string directory_;
  UniqueFd fd_;
  std::function<void()> on_oom_;
  uint64_t kills_ = 0;
};

}  // namespace gantry::shim
