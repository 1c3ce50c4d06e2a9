// SPDX-License-Identifier: Apache-2.0
#include "kernel/unmount.h"

#include <sys/mount.h>

#include <cerrno>

namespace gantry::kernel {

Result<> UnmountAll(const std::string& path) {
  while (::umount2(path.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) == 0) {
  }
  // EINVAL: no mount point.
  if (errno == EINVAL || errno == ENOENT) return {};
  return ErrnoError("unmounting '{}'", path);
}

}  // namespace gantry::kernel
