// SPDX-License-Identifier: Apache-2.0
//
// Loop devices (loop(4)): a file as a block device. Any thread.
#pragma once

#include <string>

#include "base/error.h"
#include "base/unique_fd.h"

namespace gantry::kernel {

enum class LoopAccess { kReadWrite, kReadOnly };

struct LoopDevice {
  std::string path;  // /dev/loopN
  // While it is open, or the device is mounted, the device stays; with the last of them it is gone,
  // unless KeepLoopDevice was called.
  UniqueFd fd;
};
// Binds a free device to the file (autoclear). Others may take the same free device first: tries
// again, a bounded number of times.
Result<LoopDevice> BindLoopDevice(const std::string& file, LoopAccess access);
// The device stays without users.
Result<> KeepLoopDevice(BorrowedFd device);
// It goes with its last user. A device that is not bound any more is no error.
Result<> ReleaseLoopDevice(const std::string& device);

}  // namespace gantry::kernel
