// SPDX-License-Identifier: Apache-2.0
//
// Processes that are not our children, by pidfd and start time, so that a reused number is never
// taken for them. Any thread.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>

#include "base/error.h"
#include "base/unique_fd.h"

namespace gantry::kernel {

struct ProcessStat {
  char state = '?';         // 'R', 'S', 'Z', …
  uint64_t start_time = 0;  // clock ticks since boot
};

// /proc/PID/stat, or nothing when there is no such process.
std::optional<ProcessStat> ReadProcessStat(pid_t pid);

// A pidfd of the process that has this number and this start time; kNotFound if it is gone (a
// zombie counts as gone).
Result<UniqueFd> OpenProcess(pid_t pid, uint64_t start_time);

Result<> SendSignal(BorrowedFd pidfd, int signal);

// "KILL", "SIGKILL", "9", "RTMIN+3" as a number.
Result<int> ParseSignal(std::string_view text);

}  // namespace gantry::kernel
