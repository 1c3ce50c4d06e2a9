// SPDX-License-Identifier: Apache-2.0
//
// Events that a kill -9 may lose, in engine.db. An event of a change of a container's record is
// written in the change's own transaction; one of something else (a network, a volume, an image)
// before that is done, as an intent; the end of an exec when it is started. It is told afterwards,
// and its row goes with the next one that is written. What a start finds here is told by it, if it
// came true and the log of events does not have it (tell_untold.cc). Any thread.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/mutex.h"
#include "engine/event.h"
#include "records/database.h"

namespace gantry::engine {

struct Untold {
  Event event;
  // What to look at to know whether it came true, where the event does not name it.
  std::string subject;
};

class UntoldEvents {
 public:
  explicit UntoldEvents(records::Database& database) : database_(database) {}

  Result<> Put(const Event& event, const std::string& subject = {});
  Result<> Put(const Event& event, const std::string& subject, records::Transaction& transaction);
  // It was told, or what it tells of was not done. One that was never put is none.
  void Done(const Event& event, std::string_view subject = {});
  // Put, by this process or kept by it, and not done.
  bool IsOpen(const Event& event, std::string_view subject = {});

  Result<std::vector<Untold>> List();
  // All rows go but those of events that are still to come.
  Result<> Clear(const std::vector<Untold>& kept = {});

 private:
  records::Database& database_;
  Mutex mutex_;
  // Keys of rows: put and not done yet; done, and the row is still there.
  std::set<std::string, std::less<>> open_ GUARDED_BY(mutex_);
  std::set<std::string, std::less<>> done_ GUARDED_BY(mutex_);
};

}  // namespace gantry::engine
