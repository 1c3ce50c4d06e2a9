// SPDX-License-Identifier: Apache-2.0
//
// "disk-budget" of the configuration (docs/garbage-collection.md): images, build cache, containers
// and volumes together shall take no more than that. What goes are images and steps of the build
// cache that nobody needs, those that were used longest ago first; never a container or a volume.
//
// A thread looks when it is told that something was added, and every ten minutes. Any thread.
#pragma once

#include <cstdint>
#include <thread>

#include "base/error.h"
#include "base/mutex.h"
#include "build/builds.h"
#include "build/disk_plan.h"
#include "engine/engine.h"

namespace gantry::build {

class DiskBudget {
 public:
  // Both outlive it.
  DiskBudget(engine::Engine& engine, Builds& builds);
  ~DiskBudget();

  // Something was added.
  void CheckSoon();

  struct Report {
    DiskPlan plan;
    int64_t containers = 0;  // bytes of the fixed part
    int64_t volumes = 0;
  };
  // What would go for this budget in bytes; nothing is changed.
  Result<Report> Explain(int64_t budget);
  // Does it. What is used again meanwhile stays: then `plan.after` is not reached.
  Result<Report> Apply(int64_t budget);

 private:
  void Loop();
  void Check();
  Result<> RemoveImage(const DiskItem& item);

  engine::Engine& engine_;
  Builds& builds_;
  Mutex mutex_;
  CondVar wanted_;
  bool check_ GUARDED_BY(mutex_) = true;
  bool stop_ GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace gantry::build
