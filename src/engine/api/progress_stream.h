// SPDX-License-Identifier: Apache-2.0
//
// docker's progress streams (load, pull, build): a JSON object a line, 200 with the first of them;
// an error after that is told in the stream. Called by one handler; the callback by the same thread
// or by one at a time of the client's.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "base/clock.h"
#include "base/mutex.h"
#include "client/containerd.h"
#include "engine/api/api.h"

namespace gantry::engine::api {

class ProgressStream {
 public:
  enum class Detail { kNone, kBars };
  ProgressStream(Call& call, Detail detail) : call_(call), detail_(detail) {}

  // Sent before anything else, with the first sign of progress.
  void SetFirstLine(formats::Json line);
  client::ProgressCallback callback();
  // The same in the words of a push.
  client::ProgressCallback PushCallback();

  Result<> Send(const formats::Json& line);
  // Before anything was sent the error is the answer, else it goes into the stream.
  // `code`: the exit code of a build's command.
  Result<> Fail(Error error, int code = 0);
  // For a call of which docker tells errors with status 200 always.
  Result<> FailInStream(const Error& error, int code = 0);
  Result<> Finish();

 private:
  void OnProgress(const client::Progress& progress, const std::string& status);
  Result<> SendLocked(const formats::Json& line) REQUIRES(mutex_);

  Call& call_;
  const Detail detail_;
  Mutex mutex_;
  std::optional<formats::Json> first_ GUARDED_BY(mutex_);
  struct Shown {
    std::string event;
    SteadyClock::time_point when;
  };
  std::map<std::string, Shown> shown_ GUARDED_BY(mutex_);
  // The image was here already, under another name perhaps: of layers only what is brought all the
  // same is told.
  bool known_image_ GUARDED_BY(mutex_) = false;
};

}  // namespace gantry::engine::api
