// SPDX-License-Identifier: Apache-2.0
//
// `--docker-socket PATH`: a unix socket that outlives gantryd. A process of its own, the holder
// (`gantryd --hold-socket`), binds it once and hands the listening descriptor to each gantryd that
// starts; connections that come between two of them wait in its backlog, and a container that has
// bound the socket's file goes on using it. One thread on both sides.
//
//   gantryd  -- connects -->  RUN/docker-socket.sock  -- SCM_RIGHTS: the listener -->  gantryd
//
// The holder ends with SIGTERM (RUN/gantry-docker-socket.pid) and takes its socket away.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"

namespace gantry::gantryd {

struct HeldSocket {
  std::string path;
  std::string group;
  std::string run_directory;
};

// The listener of the living holder, else of one that is started. kAlreadyExists when somebody else
// serves the path: a running dockerd is left alone.
Result<UniqueFd> TakeHeldSocket(const HeldSocket& wanted, const std::string& program);

inline constexpr std::string_view kHoldSocketFlag = "--hold-socket";
// The holder's process: PATH GROUP RUN_DIRECTORY. Returns its exit code.
int HoldSocket(const std::vector<std::string>& arguments);

}  // namespace gantry::gantryd
