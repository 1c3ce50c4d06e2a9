// SPDX-License-Identifier: Apache-2.0
//
// The engine's builds: one object a daemon, with their cache and who can be cancelled. Any thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <string>

#include "base/byte_stream.h"
#include "base/error.h"
#include "base/mutex.h"
#include "base/stop_token.h"
#include "build/cache.h"
#include "build/request.h"
#include "engine/engine.h"

namespace gantry::build {

class Builds {
 public:
  explicit Builds(engine::Engine& engine) : engine_(engine), cache_(engine) {}

  // Once the engine is connected: takes away what a crash has left of builds.
  Result<> Open() { return cache_.Open(); }
  Cache& cache() { return cache_; }

  // `id`: what Cancel knows it by; "" for a build that only `stop` ends.
  Result<BuildEnd> Run(const std::string& id, BuildRequest request, ByteSource& body,
                       const BuildOutput& output, StopSource& stop);
  // One that is not there has ended: no error.
  void Cancel(const std::string& id);

  // Since the start of the daemon, for its metrics.
  int64_t begun() const { return begun_; }
  int64_t failed() const { return failed_; }
  int64_t cancelled() const { return cancelled_; }

 private:
  engine::Engine& engine_;
  Cache cache_;
  std::atomic<int64_t> begun_ = 0;
  std::atomic<int64_t> failed_ = 0;  // without the cancelled ones
  std::atomic<int64_t> cancelled_ = 0;
  Mutex mutex_;
  std::multimap<std::string, StopSource*> running_ GUARDED_BY(mutex_);
};

}  // namespace gantry::build
