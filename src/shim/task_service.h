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
  using MakeContainer = std::function<std::unique_ptr<Container>(const std::string& id)>;

  // `make` is for the group's others. `on_shutdown(answer)` runs when the shim may end; it calls
  // `answer` before it does. `in_use`: something beside the containers keeps the shim.
  TaskService(Container* container, MakeContainer make, std::function<bool()> in_use,
              std::function<void(std::function<void()> answer)> on_shutdown);

  void Handle(wire::TtrpcCall call);

 private:
  // The one of this id that there is, or null.
  Container* Find(const std::string& id) const;
  // Where one of this id can be made.
  Container& Free(const std::string& id);
  bool Idle() const;
  void Create(const wire::TtrpcCall& call);
  void Connect(const wire::TtrpcCall& call);
  void Shutdown(const wire::TtrpcCall& call);
  void Change(const wire::TtrpcCall& call, Container& container);
  void Ask(const wire::TtrpcCall& call, Container& container);

  Container* container_;
  MakeContainer make_;
  // Kept once made, for the next of the group: their timers may still run.
  std::vector<std::unique_ptr<Container>> others_;
  std::function<bool()> in_use_;
  std::function<void(std::function<void()> answer)> on_shutdown_;
};

}  // namespace gantry::shim
