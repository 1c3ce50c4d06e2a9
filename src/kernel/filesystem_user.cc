// SPDX-License-Identifier: Apache-2.0
#include "kernel/filesystem_user.h"

#include <linux/capability.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace gantry::kernel {
namespace {

// setfsuid(2) of another user takes the capabilities about files out of the effective set; they
// stay permitted.
Result<> RaiseCapabilities() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  if (::syscall(SYS_capget, &header, data) < 0) return ErrnoError("reading capabilities");
  for (__user_cap_data_struct& half : data) half.effective = half.permitted;
  if (::syscall(SYS_capset, &header, data) < 0) return ErrnoError("raising capabilities");
  return {};
}

}  // namespace

Result<> FilesystemUser::Become(uid_t uid, gid_t gid) {
  changed_ = true;
  (void)::syscall(SYS_setfsgid, gid);
  (void)::syscall(SYS_setfsuid, uid);
  // The call tells only what was before.
  if (::syscall(SYS_setfsuid, uid_t(-1)) != static_cast<long>(uid)) {
    return MakeError(ErrorKind::kPermissionDenied, "making files as user {}: not allowed", uid);
  }
  return RaiseCapabilities();
}

FilesystemUser::~FilesystemUser() {
  if (!changed_) return;
  (void)::syscall(SYS_setfsuid, ::geteuid());
  (void)::syscall(SYS_setfsgid, ::getegid());
}

}  // namespace gantry::kernel
