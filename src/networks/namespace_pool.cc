// SPDX-License-Identifier: Apache-2.0
#include "networks/namespace_pool.h"

namespace gantry::networks {

Result<kernel::NetNamespace> NamespacePool::Take() {
  {
    MutexLock lock(mutex_);
    if (!ready_.empty()) {
      kernel::NetNamespace taken = std::move(ready_.back());
      ready_.pop_back();
      return taken;
    }
  }
  return kernel::MakeNetNamespace();
}

Result<> NamespacePool::Refill() {
  for (;;) {
    {
      MutexLock lock(mutex_);
      if (ready_.size() >= size_) return {};
    }
    kernel::NetNamespace made = TRY(kernel::MakeNetNamespace());
    MutexLock lock(mutex_);
    ready_.push_back(std::move(made));
  }
}

}  // namespace gantry::networks
