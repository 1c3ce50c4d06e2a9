// SPDX-License-Identifier: Apache-2.0
//
// How a build's progress is shown, in the forms that BuildKit's users know: "plain" lines for logs,
// "tty", a table that is drawn anew, "rawjson" for programs, "quiet". One thread.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/unique_fd.h"
#include "build_client/graph.h"

namespace gantry::build_client {

class Display {
 public:
  virtual ~Display() = default;
  // `graph` knows of the update already.
  virtual void Take(const Graph& graph, const api::StatusResponse& update) = 0;
  // Ten times a second.
  virtual void Tick(const Graph&) {}
  // Nothing follows.
  virtual void End(const Graph&) {}
};

// `how`: "auto" (a table in a terminal, else lines), "plain", "tty", "rawjson", "quiet", "none".
// `colors`: for the table. kInvalidArgument.
struct DisplayOptions {
  std::string how = "auto";
  BorrowedFd out;
  bool colors = true;
};
Result<std::unique_ptr<Display>> MakeDisplay(const DisplayOptions& options);

// plain_display.cc, table_display.cc
std::unique_ptr<Display> MakePlainDisplay(BorrowedFd out);
std::unique_ptr<Display> MakeTableDisplay(BorrowedFd out, bool colors);

// "12.34kB", as progress tells sizes.
std::string SizeText(int64_t bytes);

}  // namespace gantry::build_client
