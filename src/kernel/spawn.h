// SPDX-License-Identifier: Apache-2.0
//
// The one place where programs are started: clone3 with CLONE_VM and CLONE_VFORK, so that the cost
// does not grow with the caller's memory, and with a pidfd, so that no number is ever reused under
// us. Nothing is inherited but what is asked for: descriptors come from an explicit map, signal
// handlers, mask and the limit of descriptors (descriptor_limit.h) are reset. Any thread; only the
// calling thread waits until the exec.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"

namespace gantry::kernel {

struct FdMapping {
  int parent = -1;
  int child = -1;
};

enum class ProcessGroup {
  kInherit,
  kNewGroup,    // setpgid(0, 0)
  kNewSession,  // setsid()
};

struct SpawnOptions {
  std::string program;            // path for execve(2); PATH is not searched
  BorrowedFd program_file;        // executed instead (execveat(2)) when valid; `program` names it
  std::vector<std::string> args;  // args[0] too
  std::vector<std::string> env;   // the whole environment, "NAME=value"
  std::string cwd;                // empty: the caller's
  // 0, 1 and 2 are /dev/null unless mapped; {0, 0} inherits. No other descriptor survives.
  std::vector<FdMapping> fds;
  ProcessGroup group = ProcessGroup::kInherit;
  // Sent when the calling *thread* ends (prctl(2), PR_SET_PDEATHSIG); 0: none.
  int parent_death_signal = 0;
  // A directory of a cgroup v2 in which the process is born.
  BorrowedFd cgroup;
};

struct SpawnedProcess {
  pid_t pid = -1;
  UniqueFd pidfd;
};

struct ExitStatus {
  int code = 0;    // when signal is 0
  int signal = 0;  // that killed it
  bool core_dumped = false;

  // As shells count: the code, or 128 + the signal.
  int ShellCode() const { return signal != 0 ? 128 + signal : code; }
};

// Returns after the program's exec has succeeded. kNotFound, kPermissionDenied, … as execve says.
Result<SpawnedProcess> Spawn(const SpawnOptions& options);

// Waits for the end of a child and reaps it.
Result<ExitStatus> WaitExit(BorrowedFd pidfd);
// The same without waiting: nothing while it runs.
Result<std::optional<ExitStatus>> PollExit(BorrowedFd pidfd);

// Runs a program to its end.
Result<ExitStatus> SpawnAndWait(const SpawnOptions& options);

enum class Captured { kOutput, kOutputAndErrors };

struct ProgramOutput {
  ExitStatus status;
  std::string text;
};

// The same with what it prints, at most `limit` bytes; of more it is an error.
Result<ProgramOutput> SpawnAndRead(SpawnOptions options, Captured captured, size_t limit);

// The executable `name` in the absolute directories of PATH (a relative one would be somebody
// else's choice), or of the usual ones where PATH is not set. kNotFound.
Result<std::string> FindInPath(std::string_view name);

}  // namespace gantry::kernel
