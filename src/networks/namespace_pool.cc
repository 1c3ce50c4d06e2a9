// SPDX-License-Identifier: Apache-2.0
#include "networks/namespace_pool.h"

#include <utility>

namespace gantry::networks {
namespace {

template <typename T>
std::optional<T> PopBack(std::vector<T>* items) {
  if (items->empty()) return std::nullopt;
  T last = std::move(items->back());
  items->pop_back();
  return last;
}

}  // namespace

std::optional<ReadyNamespace> NamespacePool::TakeReady(Kind kind) {
  if (kind == Kind::kWithResolver) {
    resolvers_wanted_ = true;
    if (auto ready = PopBack(&with_resolver_)) return ready;
  }
  auto plain = PopBack(&plain_);
  if (!plain) return std::nullopt;
  return ReadyNamespace{*std::move(plain), std::nullopt};
}

Result<ReadyNamespace> NamespacePool::Take(Kind kind) {
  {
    MutexLock lock(mutex_);
    if (auto ready = TakeReady(kind)) return *std::move(ready);
  }
  return ReadyNamespace{TRY(kernel::MakeNetNamespace()), std::nullopt};
}

std::optional<NamespacePool::Kind> NamespacePool::Missing() {
  MutexLock lock(mutex_);
  if (plain_.size() < size_) return Kind::kPlain;
  if (resolvers_wanted_ && with_resolver_.size() < size_) return Kind::kWithResolver;
  return std::nullopt;
}

Result<> NamespacePool::Refill() {
  while (auto missing = Missing()) {
    kernel::NetNamespace made = TRY(kernel::MakeNetNamespace());
    std::optional<ResolverSockets> resolver;
    if (missing == Kind::kWithResolver) resolver = TRY(OpenResolver(made.fd));
    MutexLock lock(mutex_);
    if (resolver) {
      with_resolver_.push_back({std::move(made), std::move(resolver)});
    } else {
      plain_.push_back(std::move(made));
    }
  }
  return {};
}

}  // namespace gantry::networks
