// SPDX-License-Identifier: Apache-2.0
//
// A build's steps as BuildKit's vertices: begin, log, status, end. Any thread; one step is told by
// one thread at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/error.h"
#include "base/mutex.h"
#include "buildkit/log_limit.h"
#include "moby/buildkit/control.pb.h"

namespace gantry::buildkit {

// Of a time after 1970.
google::protobuf::Timestamp ToTimestamp(WallTime time);

class Progress {
 public:
  using Update = moby::buildkit::v1::StatusResponse;
  // `ref`: of the build. `publish` gets each update, in the order of their making.
  Progress(std::string ref, std::function<void(Update)> publish)
      : ref_(std::move(ref)), publish_(std::move(publish)) {}

  // Its number.
  size_t Begin(const std::string& name);
  // One that the client knows by this digest.
  size_t Begin(const std::string& name, const std::string& digest);
  void Cached(size_t step);
  // What LogLimit leaves of it; where the step ends with an error, the last lines come too.
  void Log(size_t step, bool to_stderr, std::string_view text);
  // A part of a step with a size, such as a layer that is pulled. Bytes; a total of 0 is unknown.
  void Part(size_t step, const std::string& name, int64_t current, int64_t total, bool done);
  // Of a step, which may have ended.
  void Warn(size_t step, moby::buildkit::v1::VertexWarning warning);
  // Of the step whose digest it names.
  void Warn(moby::buildkit::v1::VertexWarning warning);
  void End(size_t step, const std::string& error);

 private:
  struct Step {
    moby::buildkit::v1::Vertex vertex;
    std::map<std::string, google::protobuf::Timestamp> parts;  // when they began
    std::map<bool, LogLimit> limits;                           // by stream, "to stderr"
    SteadyClock::time_point begun;
  };
  void PublishLog(const Step& step, bool to_stderr, const std::string& text) REQUIRES(mutex_);

  const std::string ref_;
  const std::function<void(Update)> publish_;
  Mutex mutex_;
  std::map<size_t, Step> steps_ GUARDED_BY(mutex_);
  size_t last_ GUARDED_BY(mutex_) = 0;
};

// What `work` does is one step.
template <typename Work>
auto InStep(Progress& progress, const std::string& name, Work work) -> decltype(work(size_t{})) {
  size_t step = progress.Begin(name);
  auto result = work(step);
  progress.End(step, result.ok() ? "" : result.error().message());
  return result;
}

}  // namespace gantry::buildkit
