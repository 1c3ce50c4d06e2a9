// SPDX-License-Identifier: Apache-2.0
//
// Shows a progress stream of the Engine API (pull, load, push: one JSON object after the other): a
// line a layer with bars in a terminal, plain lines in a pipe. One thread.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"
#include "cmd/gantry/api.h"

namespace gantry::cli {

// Cuts a stream of JSON objects, one a line or back to back, into objects.
class JsonStream {
 public:
  explicit JsonStream(wire::HttpConnection* connection) : connection_(connection) {}
  // The next object; null at the end of the stream.
  Result<Json> Next();

 private:
  wire::HttpConnection* connection_;
  std::string pending_;
  size_t scanned_ = 0;  // of pending_, up to where no object ends
  int depth_ = 0;
  bool in_string_ = false;
  bool escaped_ = false;
};

// Shows the stream on `out` to its end. An error within the stream is returned. `aux`, when given,
// receives the objects' "aux" members, `code` the number that the error comes with.
Result<> ShowProgress(wire::HttpConnection* connection, BorrowedFd out,
                      std::vector<Json>* aux = nullptr, int* code = nullptr);

// The body of an answer into a file, which appears whole, or to standard output for "".
Result<int> SaveStream(wire::HttpConnection* connection, const std::string& output);

}  // namespace gantry::cli
