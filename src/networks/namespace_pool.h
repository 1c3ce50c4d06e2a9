// SPDX-License-Identifier: Apache-2.0
//
// Network namespaces made before they are asked for: making one costs half a millisecond that no
// start of a container should wait for. They have no name, so that nothing is left of them when the
// process ends, however it ends. Any thread.
#pragma once

#include <vector>

#include "base/error.h"
#include "base/mutex.h"
#include "kernel/net_namespace.h"

namespace gantry::networks {

class NamespacePool {
 public:
  explicit NamespacePool(size_t size) : size_(size) {}

  // A prepared one, else one made now.
  Result<kernel::NetNamespace> Take();
  // Makes what is missing. The background thread calls it.
  Result<> Refill();

 private:
  size_t size_;
  Mutex mutex_;
  std::vector<kernel::NetNamespace> ready_ GUARDED_BY(mutex_);
};

}  // namespace gantry::networks
