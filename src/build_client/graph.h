// SPDX-License-Identifier: Apache-2.0
//
// What is known of a build that runs, from the updates of Control.Status: its steps (BuildKit's
// vertices) in the order in which they were told, with their parts, warnings and last lines. Plain
// data; one thread.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "moby/buildkit/control.plain.h"

namespace gantry::build_client {

namespace api = plain::moby::buildkit::v1;

struct Part {
  std::string id;
  int64_t current = 0;
  int64_t total = 0;  // 0: unknown
  std::optional<WallTime> started, completed;
  WallTime told{};
};

struct Step {
  std::string digest;
  std::string name;
  std::string error;
  bool cached = false;
  std::optional<WallTime> started, completed;
  std::vector<Part> parts;
  std::deque<std::string> tail;  // the last lines, each "0.123 text"
  std::string line;              // the one that has no end yet

  bool Runs() const { return started && !completed; }
  bool WasCancelled() const;
};

class Graph {
 public:
  void Take(const api::StatusResponse& update);
  const std::vector<Step>& steps() const { return steps_; }
  const Step* Find(const std::string& digest) const;
  // The position of a step in steps().
  std::optional<size_t> IndexOf(const std::string& digest) const;
  // Where the build's error comes from: the header of its status (google.rpc.Status in base64).
  Result<> TakePlaces(std::string_view details);
  // What was told of the failed steps, the last lines of each, and the lines of the sources that
  // the error is about.
  std::string FailureText() const;
  // A line for each warning; "" without any.
  std::string WarningText() const;

 private:
  void TakeLog(const api::VertexLog& log);
  std::vector<Step> steps_;
  std::map<std::string, size_t> by_digest_;
  std::vector<std::string> warnings_;
  std::string places_;
};

// A line of a step's command as it is shown: seconds since the step began, and the text.
std::string TimedLine(const Step& step, WallTime when, std::string_view text);
// "0.3s"
std::string Seconds(std::chrono::nanoseconds time);

}  // namespace gantry::build_client
