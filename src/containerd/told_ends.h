// SPDX-License-Identifier: Apache-2.0
//
// Which ends of tasks the log of events has, so that whoever cleans up after a dead shim tells what
// is missing, and nothing twice: the shim may have told it, or died with it. Reads files; any
// thread.
#pragma once

#include <map>
#include <string>
#include <utility>

#include "containerd/event_log.h"

namespace gantry::containerd {

struct ToldEnd {
  bool created = false;
  bool exit = false;
  bool deleted = false;
};

// By namespace and task, since the task was created last. Of the log's last 16,384 events: what was
// told before is told again rather than lost.
std::map<std::pair<std::string, std::string>, ToldEnd> ReadToldEnds(const EventLog& log);

}  // namespace gantry::containerd
