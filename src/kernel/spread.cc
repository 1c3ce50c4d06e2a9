// SPDX-License-Identifier: Apache-2.0
#include "kernel/spread.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>

#include <cerrno>

#include "base/io.h"

namespace gantry::kernel {

Result<> SpreadSubdirectories(const std::string& path) {
  UniqueFd directory = TRY(OpenFile(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  auto unknown = [] { return errno == ENOTTY || errno == EOPNOTSUPP || errno == EINVAL; };
  int flags = 0;
  if (::ioctl(directory.get(), FS_IOC_GETFLAGS, &flags) != 0) {
    if (unknown()) return {};
    return ErrnoError("reading the flags of '{}'", path);
  }
  if ((flags & FS_TOPDIR_FL) != 0) return {};
  flags |= FS_TOPDIR_FL;
  if (::ioctl(directory.get(), FS_IOC_SETFLAGS, &flags) != 0 && !unknown()) {
    return ErrnoError("setting the flags of '{}'", path);
  }
  return {};
}

}  // namespace gantry::kernel
