// SPDX-License-Identifier: Apache-2.0
//
// Sends the lines of containers with a log driver for a server (syslog, journald, fluentd, gelf):
// from the file that the shim writes, with a cursor on disk beside it. A server that is slow or
// dead delays nobody: the lines wait in the file, within its limits, and are sent when it is back.
// After kill -9 the last batch may be sent twice, never not at all. No thread while there is
// nothing to send; at most kThreads while there is. Any thread may call.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "base/event_loop.h"
#include "base/mutex.h"
#include "engine/engine.h"
#include "engine/logs.h"
#include "wire/worker_pool.h"

namespace gantry::engine {

class LogForwarder {
 public:
  // All three outlive it.
  LogForwarder(Engine& engine, LogWatcher& watcher, EventLoop& loop);
  ~LogForwarder();

  // Sends what there is and what comes, until Remove. Again: nothing.
  void Begin(const std::string& id);
  // The container's files are about to go: waits until all is sent, or it is plain that the server
  // does not take it, at most 3 s.
  void Remove(const std::string& id);

 private:
  class Forward;

  Engine& engine_;
  LogWatcher& watcher_;
  EventLoop& loop_;
  // Of its own: sending waits for servers, and requests must not wait for that.
  wire::WorkerPool workers_;
  Mutex mutex_;
  std::map<std::string, std::shared_ptr<Forward>> forwards_ GUARDED_BY(mutex_);
};

}  // namespace gantry::engine
