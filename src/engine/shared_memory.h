// SPDX-License-Identifier: Apache-2.0
//
// /dev/shm of a container whose IPC namespace others may join (--ipc shareable): a tmpfs at
// RUN/shm/ID, which is mounted as long as the container runs and bound into it and into those that
// join. Start-up takes away what a crash leaves (Engine::SweepDirectories). Any thread.
#pragma once

#include <cstdint>
#include <string>

#include "base/error.h"

namespace gantry::engine {

// `size` in bytes. What an earlier run has left there is replaced.
Result<> MountSharedMemory(const std::string& path, int64_t size);
// No error when it is not there.
Result<> UnmountSharedMemory(const std::string& path);

}  // namespace gantry::engine
