// SPDX-License-Identifier: Apache-2.0
#include "kernel/loop_device.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/io.h"

namespace gantry::kernel {
namespace {

constexpr int kTries = 64;

Result<> SetAutoclear(BorrowedFd device, bool autoclear) {
  loop_info64 info;
  if (::ioctl(device.get(), LOOP_GET_STATUS64, &info) != 0) {
    return ErrnoError("reading the state of a loop device");
  }
  if (autoclear) {
    info.lo_flags |= LO_FLAGS_AUTOCLEAR;
  } else {
    info.lo_flags &= ~static_cast<uint32_t>(LO_FLAGS_AUTOCLEAR);
  }
  if (::ioctl(device.get(), LOOP_SET_STATUS64, &info) != 0) {
    return ErrnoError("changing the state of a loop device");
  }
  return {};
}

}  // namespace

Result<LoopDevice> BindLoopDevice(const std::string& file, LoopAccess access) {
  int flags = access == LoopAccess::kReadOnly ? O_RDONLY : O_RDWR;
  UniqueFd backing = TRY(OpenFile(file, flags));
  UniqueFd control = TRY(OpenFile("/dev/loop-control", O_RDWR));
  for (int i = 0; i < kTries; ++i) {
    int number = ::ioctl(control.get(), LOOP_CTL_GET_FREE);
    if (number < 0) return ErrnoError("finding a free loop device");
    LoopDevice device;
    device.path = fmt::format("/dev/loop{}", number);
    device.fd = TRY(OpenFile(device.path, flags));
    // All at once, so that there is no moment in which it is bound but would stay after a crash.
    loop_config config;
    memset(&config, 0, sizeof config);
    config.fd = static_cast<uint32_t>(backing.get());
    config.info.lo_flags = LO_FLAGS_AUTOCLEAR;
    if (access == LoopAccess::kReadOnly) config.info.lo_flags |= LO_FLAGS_READ_ONLY;
    strncpy(reinterpret_cast<char*>(config.info.lo_file_name), file.c_str(), LO_NAME_SIZE - 1);
    if (::ioctl(device.fd.get(), LOOP_CONFIGURE, &config) == 0) return device;
    if (errno != EBUSY) return ErrnoError("binding '{}' to '{}'", file, device.path);
  }
  return Unavailable("binding '{}' to a loop device: others take each free one first", file);
}

Result<> KeepLoopDevice(BorrowedFd device) { return SetAutoclear(device, false); }

Result<> ReleaseLoopDevice(const std::string& device) {
  UniqueFd fd = TRY(OpenFile(device, O_RDONLY));
  auto released = SetAutoclear(fd, true);
  if (!released.ok() && released.error().error_number() == ENXIO) return {};
  return released;
}

}  // namespace gantry::kernel
