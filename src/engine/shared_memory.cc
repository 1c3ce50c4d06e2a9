// SPDX-License-Identifier: Apache-2.0
#include "engine/shared_memory.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "base/io.h"
#include "kernel/mounts.h"

namespace gantry::engine {

Result<> MountSharedMemory(const std::string& path, int64_t size) {
  TRY(UnmountSharedMemory(path));
  TRY(MakeDirectories(path, 0700));
  UniqueFd place = TRY(OpenFile(path, O_PATH | O_DIRECTORY));
  UniqueFd mount = TRY(kernel::MountDetached(
      "tmpfs", "shm", {"nosuid", "nodev", "noexec", "mode=1777", fmt::format("size={}", size)}));
  return kernel::AttachMount(mount, place);
}

Result<> UnmountSharedMemory(const std::string& path) {
  TRY(kernel::UnmountAll(path));
  if (::rmdir(path.c_str()) < 0 && errno != ENOENT) return ErrnoError("removing '{}'", path);
  return {};
}

}  // namespace gantry::engine
