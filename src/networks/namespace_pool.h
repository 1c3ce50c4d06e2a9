// SPDX-License-Identifier: Apache-2.0
//
// Network namespaces made before they are asked for: making one, and opening a resolver in it,
// costs a millisecond that no start of a container should wait for. They have no name, so that
// nothing is left of them when the process ends, however it ends. Any thread.
#pragma once

#include <optional>
#include <vector>

#include "base/error.h"
#include "base/mutex.h"
#include "kernel/net_namespace.h"
#include "networks/resolver_sockets.h"

namespace gantry::networks {

struct ReadyNamespace {
  kernel::NetNamespace netns;
  std::optional<ResolverSockets> resolver;
};

class NamespacePool {
 public:
  explicit NamespacePool(size_t size) : size_(size) {}

  enum class Kind { kPlain, kWithResolver };
  // A prepared one, else one made now. That it has a resolver is not sure: from the first time on
  // that one is asked for some are prepared so.
  Result<ReadyNamespace> Take(Kind kind);
  // Makes what is missing. The background thread calls it.
  Result<> Refill();

 private:
  std::optional<ReadyNamespace> TakeReady(Kind kind) REQUIRES(mutex_);
  // What is missing, if anything is.
  std::optional<Kind> Missing();

  size_t size_;
  Mutex mutex_;
  std::vector<kernel::NetNamespace> plain_ GUARDED_BY(mutex_);
  std::vector<ReadyNamespace> with_resolver_ GUARDED_BY(mutex_);
  bool resolvers_wanted_ GUARDED_BY(mutex_) = false;
};

}  // namespace gantry::networks
