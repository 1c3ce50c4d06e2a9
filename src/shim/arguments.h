// SPDX-License-Identifier: Apache-2.0
//
// The shim's command line, as containerd's runtime v2 gives it (Go's flag syntax: one dash or two,
// "-id x" or "-id=x"), and what the environment adds. Pure apart from reading the environment.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"

namespace gantry::shim {

enum class Action { kServe, kStart, kDelete, kInfo, kVersion };

struct Arguments {
  Action action = Action::kServe;
  std::string name_space;      // containerd's namespace
  std::string id;              // of the container
  std::string address;         // of containerd's gRPC socket
  std::string ttrpc_address;   // TTRPC_ADDRESS; events go there
  std::string publish_binary;  // taken and not used: events go over ttrpc
  std::string socket;          // -socket: where to serve, instead of a derived path
  std::string bundle;          // -bundle; empty: the working directory
  bool debug = false;
};

Result<Arguments> ParseArguments(const std::vector<std::string>& args);

// Where this container's ttrpc socket is: DIRECTORY/HASH of address, namespace and id. The
// directory is `socket_dir` if given, else "s" beside containerd's own socket.
std::string SocketPath(const Arguments& arguments, const std::string& socket_dir);

// The runtime's --root when nobody names one: "runtime/NAMESPACE" beside containerd's own socket.
std::string DefaultRuntimeRoot(const Arguments& arguments);

}  // namespace gantry::shim
