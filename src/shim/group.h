// SPDX-License-Identifier: Apache-2.0
//
// How `start` puts a new member into the shim of its group, so that the shim does not end between
// the address that `start` answers and the Create that follows:
//
//   start ──Join(id)──► shim: not ending, and from now on it waits for id's Create
//         ◄──ok──         (an error, or nobody there: `start` makes a new shim)
//   daemon ─Create(id)─► shim: no longer awaited, there
//   or     ─Shutdown(id), which a daemon sends also for what it could not create
//
// Service gantry.shim.v1.Group on the shim's ttrpc socket; Join's request has the id as field 1.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/event_loop.h"

namespace gantry::shim {

inline constexpr std::string_view kGroupService = "gantry.shim.v1.Group";

// Of `start`: ok when the shim behind the socket has promised to stay. Blocks.
Result<> JoinGroup(const std::string& socket_path, const std::string& id);

// Members whose Create has not come yet. The loop's thread.
class AwaitedMembers {
 public:
  // A daemon that has not come in this time never will; containerd itself gives up after 100 s.
  static constexpr auto kPatience = std::chrono::seconds(120);

  // `on_expired` runs after one of them was given up.
  AwaitedMembers(EventLoop* loop, std::function<void()> on_expired,
                 std::chrono::nanoseconds patience = kPatience)
      : loop_(loop), on_expired_(std::move(on_expired)), patience_(patience) {}

  void Add(const std::string& id);
  void Remove(const std::string& id);
  bool empty() const { return timers_.empty(); }

 private:
  EventLoop* loop_;
  std::function<void()> on_expired_;
  std::chrono::nanoseconds patience_;
  std::map<std::string, EventLoop::TimerId> timers_;
};

}  // namespace gantry::shim
