// SPDX-License-Identifier: Apache-2.0
//
// All shims of this daemon that are kept for one use, by namespace and name of the task or sandbox:
// starts them, finds those that an earlier daemon started, and cleans up after those that end. Any
// thread; Start and AdoptAll block.
//
//   Start ──► running ──Retire──► retiring ──closed──► gone
//                └────closed────► dead ── `delete`, events exit and delete ──► gone
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/event_loop.h"
#include "base/mutex.h"
#include "base/undo.h"
#include "containerd/bundle.h"
#include "containerd/shim.h"
#include "containerd/shim_program.h"
#include "wire/worker_pool.h"

namespace gantry::containerd {

class EventExchange;

class ShimDirectory : public std::enable_shared_from_this<ShimDirectory> {
 public:
  // Everything that is pointed to outlives the directory.
  static std::shared_ptr<ShimDirectory> Create(ShimUse use, BundleRoots roots,
                                               ShimSettings settings, EventLoop* loop,
                                               EventExchange* events, wire::WorkerPool* workers);

  // Once at start. A shim that does not answer is cleaned up after.
  Result<> AdoptAll();

  struct StartRequest {
    std::string ns;
    std::string id;
    std::string runtime;
    std::string spec;     // config.json
    std::string options;  // serialised Any for the shim, or empty
    // Of the sandbox that the task belongs to, or null: then the task gets a shim of its own.
    std::shared_ptr<Shim> sandbox = nullptr;
  };
  // kAlreadyExists when the task is there. Waits for a task of the same name that is just ending.
  Result<std::shared_ptr<Shim>> Start(const StartRequest& request);

  // What a runtime is: the serialised containerd.types.RuntimeInfo that its shim prints. Blocks.
  Result<std::string> RuntimeInfo(const std::string& runtime, const std::string& options) const;
  // kNotFound: "task x: not found", or sandbox.
  Result<std::shared_ptr<Shim>> Find(const std::string& ns, const std::string& id);
  // Of one namespace, or of all.
  std::vector<std::shared_ptr<Shim>> List(const std::string& ns);
  std::vector<std::shared_ptr<Shim>> All();
  // The task was deleted, or was never made: ends the shim and removes the bundle, in the
  // background.
  void Retire(const std::shared_ptr<Shim>& shim);
  // Blocks until a retired shim is gone with its bundle; kDeadlineExceeded when it takes too long.
  Result<> WaitUntilGone(const std::shared_ptr<Shim>& shim);

 private:
  using Key = std::pair<std::string, std::string>;
  enum class Phase { kStarting, kRunning, kRetiring, kDead };
  struct Entry {
    Phase phase = Phase::kStarting;
    std::shared_ptr<Shim> shim;  // null while starting
    bool inherited = false;      // deleted under an earlier daemon, perhaps not told
  };

  ShimDirectory(ShimUse use, BundleRoots roots, ShimSettings settings, EventLoop* loop,
                EventExchange* events, wire::WorkerPool* workers)
      : use_(use),
        roots_(std::move(roots)),
        settings_(std::move(settings)),
        loop_(loop),
        events_(events),
        workers_(workers) {}

  Result<> Reserve(const Key& key);
  void Forget(const Key& key);
  Result<std::shared_ptr<Shim>> Launch(const StartRequest& request);
  // Runs the shim's program in the bundle.
  Result<ShimEndpoint> RunStart(const StartRequest& request, const std::string& program,
                                const Bundle& bundle, Undo* undo);
  void Adopt(const Key& key);
  Result<std::shared_ptr<Shim>> Reconnect(const Key& key, const Bundle& bundle);
  std::function<void()> CloseCallback(const Key& key);
  // Tasks of one group live in one shim, which ends with the last of them; one with a sandbox ends
  // with that.
  bool HasOthers(const std::shared_ptr<Shim>& shim) REQUIRES(mutex_);
  // Loop's thread.
  void OnClosed(const Key& key);
  void CleanUpRetired(const Key& key, const std::shared_ptr<Shim>& shim);
  // Of a task that an earlier daemon deleted: its shim may have ended before anybody was there to
  // take its last events.
  void CleanUpInherited(const Key& key, const std::shared_ptr<Shim>& shim);
  void CleanUpDead(const Key& key, const std::shared_ptr<Shim>& shim);
  // Runs the shim's `delete`, removes the bundle.
  TaskEnd DeleteDead(const Key& key, const Bundle& bundle);
  // A task whose Create was cut off has neither ended by itself nor been told: nobody knows of it.
  enum class Tell : uint8_t { kAlways, kIfCreated };
  void PublishEnd(const Key& key, const TaskEnd& end, Tell tell = Tell::kAlways);

  // "task" or "sandbox".
  std::string_view Noun() const { return use_ == ShimUse::kSandbox ? "sandbox" : "task"; }
  // Whether the shim has what it was started for.
  bool HasSubject(Shim& shim);

  const ShimUse use_;
  const BundleRoots roots_;
  const ShimSettings settings_;
  EventLoop* loop_;
  EventExchange* events_;
  wire::WorkerPool* workers_;

  Mutex mutex_;
  CondVar changed_;
  std::map<Key, Entry> entries_ GUARDED_BY(mutex_);
};

}  // namespace gantry::containerd
