// SPDX-License-Identifier: Apache-2.0
//
// Running a shim's program: `start`, which leaves a server behind, `delete`, which cleans up after
// one that died, and `-info`, which tells what it is. Blocks, with a bound; for workers.
#pragma once

#include <chrono>
#include <map>
#include <string>

#include "base/error.h"
#include "containerd/bundle.h"

namespace gantry::containerd {

struct ShimSettings {
  std::string runtime_dir;  // where our own shim is
  std::string address;      // of our gRPC socket
  std::string ttrpc_address;
  std::string self;  // our program, for -publish-binary
  bool debug = false;
  std::map<std::string, std::string> runtimes;  // runtime name to shim program
};

// A runtime's shim program: an absolute path is itself; "", io.containerd.runc.v2 and
// io.containerd.gantry.v1 are our shim unless the settings say otherwise; io.containerd.NAME.vN is
// containerd-shim-NAME-vN beside our program or in PATH.
Result<std::string> ShimProgram(const ShimSettings& settings, const std::string& runtime);

struct ShimCall {
  std::string program;
  std::string ns;
  std::string id;
  std::string bundle;
  std::string input;  // standard input, or empty for none
};
Result<ShimEndpoint> RunShimStart(const ShimSettings& settings, const ShimCall& call);
// The serialised containerd.task.v3.DeleteResponse.
Result<std::string> RunShimDelete(const ShimSettings& settings, const ShimCall& call);
// The serialised containerd.types.RuntimeInfo; `options` is a serialised Any, or empty.
Result<std::string> RunShimInfo(const ShimSettings& settings, const std::string& program,
                                const std::string& options);

}  // namespace gantry::containerd
