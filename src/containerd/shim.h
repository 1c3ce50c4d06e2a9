// SPDX-License-Identifier: Apache-2.0
//
// One running shim: its bundle, its connection, its log. Made by ShimDirectory; users call the
// task service through it. Any thread.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/event_loop.h"
#include "base/mutex.h"
#include "containerd/bundle.h"
#include "wire/ttrpc.h"

namespace gantry::containerd {

// How a task ended.
struct TaskEnd {
  uint32_t pid = 0;
  uint32_t status = 0;
  WallTime at{};
};

// What a shim is kept for, and so which of its services is called.
enum class ShimUse { kTask, kSandbox };

class Shim {
 public:
  using Callback = std::function<void(Result<std::string>)>;

  // `on_close` runs in the loop's thread when the shim ends.
  static Result<std::shared_ptr<Shim>> Connect(EventLoop* loop, const std::string& ns,
                                               const std::string& id, Bundle bundle,
                                               const ShimEndpoint& endpoint, ShimUse use,
                                               std::function<void()> on_close);
  ~Shim();
  Shim(const Shim&) = delete;
  Shim& operator=(const Shim&) = delete;

  const std::string& ns() const { return ns_; }
  const std::string& id() const { return id_; }
  const Bundle& bundle() const { return bundle_; }
  const ShimEndpoint& endpoint() const { return endpoint_; }

  // One call of the task service, payloads are serialised containerd.task.v3 messages, or of the
  // sandbox service, payloads are those of containerd.runtime.sandbox.v1. `callback` runs in the
  // loop's thread; a timeout of 0 waits for ever.
  void CallAsync(std::string_view method, const std::string& payload,
                 std::chrono::nanoseconds timeout, Callback callback) {
    client_->CallAsync(service_, method, payload, timeout, std::move(callback));
  }
  // Blocks; not in the loop's thread.
  Result<std::string> Call(std::string_view method, const std::string& payload,
                           std::chrono::nanoseconds timeout) {
    return client_->Call(service_, method, payload, timeout);
  }

  // The shim has died and its task was cleaned up: tells whoever waits for it.
  void Bury(const TaskEnd& end);
  // Calls back when that happens, or at once when it has.
  void WhenBuried(std::function<void(const TaskEnd&)> callback);

  // The shim's log, line by line, into ours.
  void FollowLog(UniqueFd log);

 private:
  Shim(EventLoop* loop, std::string ns, std::string id, Bundle bundle, ShimEndpoint endpoint,
       ShimUse use)
      : loop_(loop),
        ns_(std::move(ns)),
        id_(std::move(id)),
        bundle_(std::move(bundle)),
        endpoint_(std::move(endpoint)),
        service_(use == ShimUse::kSandbox ? "containerd.runtime.sandbox.v1.Sandbox"
                 : endpoint_.version >= 3 ? "containerd.task.v3.Task"
                                          : "containerd.task.v2.Task") {}

  EventLoop* loop_;
  const std::string ns_;
  const std::string id_;
  const Bundle bundle_;
  const ShimEndpoint endpoint_;
  const std::string_view service_;
  std::unique_ptr<wire::TtrpcClient> client_;
  std::shared_ptr<UniqueFd> log_;

  Mutex mutex_;
  std::optional<TaskEnd> end_ GUARDED_BY(mutex_);
  std::vector<std::function<void(const TaskEnd&)>> mourners_ GUARDED_BY(mutex_);
};

}  // namespace gantry::containerd
