// SPDX-License-Identifier: Apache-2.0
//
// A daemon behind ssh://: `ssh HOST gantry system dial-stdio` (or docker's, whichever the machine
// has), whose standard streams are the connection. One thread.
#pragma once

#include <string>

#include "base/error.h"
#include "wire/http_client.h"

namespace gantry::cli {

struct SshTarget {
  std::string user, host, port;
  std::string path;  // of the daemon's socket there; empty: its usual place
};

// Errors name what docker's users would have to change.
Result<SshTarget> ParseSshTarget(const std::string& url);

// Each connection is an ssh of its own; a ControlMaster in ssh_config(5) makes them cheap. What ssh
// has to say goes to standard error, and its questions to the terminal.
Result<wire::HttpConnection> ConnectSsh(const std::string& url);

}  // namespace gantry::cli
