// SPDX-License-Identifier: Apache-2.0
#include "kernel/protected_program.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "kernel/mounts.h"

namespace gantry::kernel {
namespace {

constexpr int kSeals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;

// A detached read-only bind: writes through any link to it give EROFS, and as it is in no mount
// namespace of the container's, it cannot be remounted.
Result<UniqueFd> ReadOnlyMount(BorrowedFd file) {
  UniqueFd mount = TRY(CloneMount(file, "", BindKind::kBind));
  TRY(SetMountAttributes(mount, {MOUNT_ATTR_RDONLY, 0}, Scope::kThisMount));
  return mount;
}

Result<UniqueFd> SealedCopy(BorrowedFd file) {
  UniqueFd copy(::memfd_create("gantry-runtime", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!copy.valid()) return ErrnoError("making a memory file");
  struct stat info{};
  if (::fstat(file.get(), &info) < 0) return ErrnoError("looking at the program");
  for (off_t left = info.st_size; left > 0;) {
    ssize_t sent = ::sendfile(copy.get(), file.get(), nullptr, static_cast<size_t>(left));
    if (sent <= 0) return ErrnoError("copying the program");
    left -= sent;
  }
  if (::fchmod(copy.get(), 0500) < 0 || ::fcntl(copy.get(), F_ADD_SEALS, kSeals) < 0) {
    return ErrnoError("sealing the program's copy");
  }
  return copy;
}

}  // namespace

bool IsProtectedProgram(BorrowedFd file) {
  int seals = ::fcntl(file.get(), F_GET_SEALS);
  if (seals >= 0 && (seals & kSeals) == kSeals) return true;
  struct statvfs info{};
  return ::fstatvfs(file.get(), &info) == 0 && (info.f_flag & ST_RDONLY) != 0;
}

Result<UniqueFd> ProtectProgram(BorrowedFd file) {
  Result<UniqueFd> mount = ReadOnlyMount(file);
  return mount.ok() ? std::move(mount) : SealedCopy(file);
}

}  // namespace gantry::kernel
