// SPDX-License-Identifier: Apache-2.0
//
// The program of a binary:// output, which reads what a process prints: its life from start to end.
// The loop's thread.
//
//   argv: PATH KEY VALUE…      env: CONTAINER_ID, CONTAINER_NAMESPACE
//   3: stdout's pipe    4: stderr's pipe    5: closed, or with binary-v2 written to, when it is
//   ready
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/error.h"
#include "base/event_loop.h"
#include "base/unique_fd.h"
#include "kernel/spawn.h"
#include "shim/stdio_uri.h"

namespace gantry::shim {

class LogProgram {
 public:
  struct Start {
    const StdioUri& uri;
    std::string id;  // of the container, or of the exec
    std::string name_space;
    BorrowedFd out;  // the ends that it reads
    BorrowedFd err;
  };

  // Returns when the program says that it is ready.
  static Result<LogProgram> Run(EventLoop* loop, const Start& start);
  LogProgram() = default;
  LogProgram(LogProgram&&) noexcept = default;
  LogProgram& operator=(LogProgram&& other) noexcept;
  ~LogProgram() { End(nullptr); }

  // Nobody writes to it any more: waits for its end, asks for it by SIGTERM after a second, forces
  // it after 12 more (containerd's bound). `done` runs once, at once if there is no program.
  void End(std::function<void()> done);

 private:
  EventLoop* loop_ = nullptr;
  kernel::SpawnedProcess process_;
};

}  // namespace gantry::shim
