// SPDX-License-Identifier: Apache-2.0
//
// The task service, versions 2 and 3 (their messages are the same bytes): decodes each call, hands
// it to the container that it names, encodes the answer. A shim has the container that it was
// started for and those of its group (shim/start_action.cc). The loop's thread.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "shim/container.h"
#include "wire/ttrpc.h"

namespace gantry::shim {

class TaskService {
 public:
  struct Hooks {
    // For the group's others.
    std::function<std::unique_ptr<Container>(const std::string& id)> make;
    // Something beside the containers keeps the shim.
    std::function<bool()> in_use;
    // The daemon has created it, or has given it up.
    std::function<void(const std::string& id)> on_known;
    std::function<void()> on_deleted;
    // The shim may end; calls `answer` before it does.
    std::function<void(std::function<void()> answer)> on_shutdown;
  };

  TaskService(std::unique_ptr<Container> container, Hooks hooks);

  void Handle(wire::TtrpcCall call);
  // The container that the shim was started for.
  Container& first() const { return *container_; }
  // Those that are not deleted.
  std::vector<Container*> Present() const;
  void EndIfUnused();

 private:
  // The one of this id that there is, or null.
  Container* Find(const std::string& id) const;
  // Where one of this id can be made.
  Container& Free(const std::string& id);
  // Nothing would be lost with the shim.
  bool Idle() const;
  void Delete(const wire::TtrpcCall& call, Container& container);
  void Create(const wire::TtrpcCall& call);
  void Connect(const wire::TtrpcCall& call);
  void Shutdown(const wire::TtrpcCall& call);
  void Change(const wire::TtrpcCall& call, Container& container);
  void Ask(const wire::TtrpcCall& call, Container& container);

  std::unique_ptr<Container> container_;
  // Kept once made, for the next of the group: their timers may still run.
  std::vector<std::unique_ptr<Container>> others_;
  const Hooks hooks_;
};

}  // namespace gantry::shim
