// SPDX-License-Identifier: Apache-2.0
//
// Tells when the kernel kills in a cgroup for lack of memory: v1 by an event descriptor on
// memory.oom_control, v2 by inotify on memory.events. One thread.
#pragma once

#include <cstdint>
#include <string>

#include "base/error.h"
#include "base/unique_fd.h"
#include "kernel/cgroups.h"

namespace gantry::kernel {

class OomEvents {
 public:
  // kNotFound where there is no memory controller.
  static Result<OomEvents> Open(const CgroupPaths& paths);

  // Readable when there may be news.
  BorrowedFd fd() const { return fd_; }
  // Takes the news: true if the kernel has killed since the last call. On v1 the descriptor is also
  // readable, once, when the cgroup has been removed.
  bool Read();
  bool CgroupExists() const;
  // No more news.
  void Close() { fd_.Reset(); }

 private:
  OomEvents() = default;
  Result<> OpenV1(const std::string& memory);
  Result<> OpenV2(const std::string& directory);
  bool ReadV1();
  bool ReadV2();

  bool unified_ = false;
  std::string directory_;
  UniqueFd fd_;
  uint64_t kills_ = 0;
};

}  // namespace gantry::kernel
