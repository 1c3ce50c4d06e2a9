// SPDX-License-Identifier: Apache-2.0
//
// What was built and what came of it (Control.ListenBuildHistory): a record and the progress of
// each build, below ROOT/engine/build-history, two files a build. A record is written when its
// build begins and again when it ends, progress before that; one without an end at the daemon's
// start is of a build that went with the daemon. The newest are kept, and those that users have
// pinned. Any thread.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/mutex.h"
#include "moby/buildkit/control.pb.h"

namespace gantry::buildkit {

class History {
 public:
  using Record = moby::buildkit::v1::BuildHistoryRecord;
  using Event = moby::buildkit::v1::BuildHistoryEvent;
  using Update = moby::buildkit::v1::StatusResponse;

  explicit History(std::string directory) : directory_(std::move(directory)) {}

  // Reads those of earlier runs of the daemon. Before all others.
  Result<> Open();

  Result<> Begin(const moby::buildkit::v1::SolveRequest& request);
  struct End {
    Result<> result;
    std::map<std::string, std::string> response;  // of the exporters
    std::vector<Update> progress;
  };
  Result<> Finish(const std::string& ref, const End& end);

  // The oldest first.
  std::vector<Record> List();
  // kNotFound.
  Result<> Pin(const std::string& ref, bool pinned);
  // kFailedPrecondition for a build that runs.
  Result<> Remove(const std::string& ref);
  bool HasEnded(const std::string& ref);
  // The progress of a build that has ended; nothing for one that runs, or is not known.
  Result<std::optional<std::vector<Update>>> ReadProgress(const std::string& ref);

  // Hears of each change until it is let go of. It may be called while others wait: it must only
  // take note.
  std::shared_ptr<void> Listen(std::function<void(const Event& event)> listener);

 private:
  struct Listener {
    std::function<void(const Event& event)> tell;
  };
  std::string PathOf(const std::string& ref, const char* kind) const;
  Result<> Write(const Record& record);
  Result<> ReadAll() REQUIRES(mutex_);
  // Those that are too many.
  Result<> Trim();
  void Tell(moby::buildkit::v1::BuildHistoryEventType type, const Record& record);

  const std::string directory_;
  Mutex mutex_;
  std::map<std::string, Record> records_ GUARDED_BY(mutex_);  // by reference
  std::vector<std::weak_ptr<Listener>> listeners_ GUARDED_BY(mutex_);
};

}  // namespace gantry::buildkit
