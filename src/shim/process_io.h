// SPDX-License-Identifier: Apache-2.0
//
// The standard streams of one process: makes what the process gets as 0, 1 and 2 (pipes, or a
// terminal's console socket) and moves the bytes to where Create or Exec said. One implementation
// a scheme; the loop's thread.
#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <string>

#include "base/event_loop.h"
#include "base/unique_fd.h"
#include "shim/stdio_uri.h"

namespace gantry::shim {

struct IoRequest {
  std::string name_space;
  std::string container_id;
  std::string stdin_uri;
  std::string stdout_uri;
  std::string stderr_uri;
  bool terminal = false;
  uid_t uid = 0;  // owner of the pipes
  gid_t gid = 0;
};

// The process's ends; closed by us once the process has them.
struct ChildStdio {
  UniqueFd in;
  UniqueFd out;
  UniqueFd err;
};

class ProcessIo {
 public:
  virtual ~ProcessIo() = default;

  // The ends for the process; empty with a terminal, and where it gets /dev/null.
  ChildStdio& child() { return child_; }
  void CloseChildEnds() { child_ = {}; }

  // The process is there. Before that what is in its output is the runtime's, which says the same
  // in its log.
  virtual Result<> StartOutput() { return {}; }
  // The terminal's other side, once the runtime has sent it.
  virtual Result<> UseTerminal(UniqueFd master) = 0;
  // CloseIO: no more stdin.
  virtual void CloseStdin() = 0;
  // The process has ended: moves what is in its pipes now.
  virtual void Drain() = 0;
  // Every stream has ended and all of it was taken.
  virtual bool finished() const = 0;
  // What is left waits for somebody who may still take it (a fifo's reader).
  virtual bool waits_for_reader() const { return false; }
  // Runs when finished() becomes true.
  void OnFinished(std::function<void()> callback) { on_finished_ = std::move(callback); }
  // Closes our ends.
  virtual void Close() = 0;
  // The same, and waits for the program that reads the output, if there is one. `done` runs once,
  // maybe at once.
  virtual void End(std::function<void()> done) {
    Close();
    done();
  }

 protected:
  void TellFinished() {
    if (finished() && on_finished_) std::exchange(on_finished_, nullptr)();
  }

  ChildStdio child_;
  std::function<void()> on_finished_;
};

Result<std::unique_ptr<ProcessIo>> CreateProcessIo(EventLoop* loop, const IoRequest& request);

struct Pipe {
  UniqueFd read;
  UniqueFd write;
};
// Close-on-exec; owned by uid and gid, so that a process of a user namespace can reopen
// /dev/stdout.
Result<Pipe> MakePipe(uid_t uid, gid_t gid);

// gantry:// (shim/gantry_io.cc).
Result<std::unique_ptr<ProcessIo>> CreateGantryIo(EventLoop* loop, const IoRequest& request,
                                                  const GantryStdio& stdio);

}  // namespace gantry::shim
