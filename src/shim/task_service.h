// SPDX-License-Identifier: Apache-2.0
//
// The task service, versions 2 and 3 (their messages are the same bytes): decodes each call, hands
// it to the container, encodes the answer. The loop's thread.
#pragma once

#include <functional>

#include "shim/container.h"
#include "wire/ttrpc.h"

namespace gantry::shim {

class TaskService {
 public:
  // `on_shutdown(answer)` runs when the shim may end; it calls `answer` before it does. `in_use`:
  // something beside the container keeps the shim.
  TaskService(Container* container, std::function<bool()> in_use,
              std::function<void(std::function<void()> answer)> on_shutdown);

  void Handle(wire::TtrpcCall call);

 private:
  void Connect(const wire::TtrpcCall& call);
  void Shutdown(const wire::TtrpcCall& call);
  void HandleSimple(const wire::TtrpcCall& call);

  Container* container_;
  std::function<bool()> in_use_;
  std::function<void(std::function<void()> answer)> on_shutdown_;
};

}  // namespace gantry::shim
