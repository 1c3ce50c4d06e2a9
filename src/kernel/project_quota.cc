// SPDX-License-Identifier: Apache-2.0
#include "kernel/project_quota.h"

#include <fcntl.h>
#include <linux/dqblk_xfs.h>
#include <linux/fs.h>
#include <linux/quota.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "base/io.h"

namespace gantry::kernel {
namespace {

// Ids below are what people and other programs write into /etc/projid.
constexpr uint32_t kFirstId = 0x40000000;
constexpr uint32_t kIds = 0x40000000;
constexpr uint64_t kBlock = 512;
constexpr int kTries = 64;

// quotactl_fd(2), of Linux 5.14; this C library has no name for it.
int QuotaCall(BorrowedFd file, int command, uint32_t id, void* argument) {
  return static_cast<int>(
      ::syscall(SYS_quotactl_fd, file.get(), QCMD(command, PRJQUOTA), id, argument));
}

Result<> SetLimit(BorrowedFd file, uint32_t id, uint64_t bytes) {
  fs_disk_quota quota = {};
  quota.d_version = FS_DQUOT_VERSION;
  quota.d_flags = FS_PROJ_QUOTA;
  quota.d_fieldmask = FS_DQ_BHARD;
  quota.d_id = id;
  quota.d_blk_hardlimit = (bytes + kBlock - 1) / kBlock;
  if (QuotaCall(file, Q_XSETQLIM, id, &quota) != 0) {
    return ErrnoError("limiting project {} to {} bytes", id, bytes);
  }
  return {};
}

// Neither limited nor used. Two that ask at the same moment get different ones, since each begins
// anywhere.
Result<uint32_t> FreeId(BorrowedFd file) {
  uint32_t random = 0;
  if (::getrandom(&random, sizeof(random), 0) != sizeof(random)) return ErrnoError("getrandom");
  for (int i = 0; i < kTries; ++i) {
    uint32_t id = kFirstId + (random + static_cast<uint32_t>(i)) % kIds;
    fs_disk_quota quota = {};
    if (QuotaCall(file, Q_XGETQUOTA, id, &quota) != 0) {
      if (errno == ENOENT) return id;
      return ErrnoError("reading the quota of project {}", id);
    }
    bool limited = quota.d_blk_hardlimit != 0 || quota.d_blk_softlimit != 0 ||
                   quota.d_ino_hardlimit != 0 || quota.d_ino_softlimit != 0;
    if (!limited && quota.d_bcount == 0 && quota.d_icount == 0) return id;
  }
  return MakeError(ErrorKind::kResourceExhausted, "no free project id");
}

Result<> Limit(const std::string& path, uint64_t bytes) {
  UniqueFd directory = TRY(OpenFile(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  uint32_t id = TRY(FreeId(directory));
  // The limit first: a directory never has an id that nothing limits.
  TRY(SetLimit(directory, id, bytes));
  fsxattr attributes = {};
  if (::ioctl(directory.get(), FS_IOC_FSGETXATTR, &attributes) != 0) {
    return ErrnoError("FS_IOC_FSGETXATTR");
  }
  attributes.fsx_xflags |= FS_XFLAG_PROJINHERIT;
  attributes.fsx_projid = id;
  if (::ioctl(directory.get(), FS_IOC_FSSETXATTR, &attributes) != 0) {
    Error error = ErrnoError("making it project {}", id);
    (void)SetLimit(directory, id, 0).ok();
    return error;
  }
  return {};
}

}  // namespace

Result<bool> HasProjectQuotas(const std::string& path) {
  UniqueFd file = TRY(OpenFile(path, O_RDONLY));
  fs_quota_statv state = {};
  state.qs_version = FS_QSTATV_VERSION1;
  if (QuotaCall(file, Q_XGETQSTATV, 0, &state) != 0) return false;
  return (state.qs_flags & FS_QUOTA_PDQ_ENFD) != 0;
}

Result<> LimitTree(const std::string& path, uint64_t bytes) {
  TRY_WITH(Limit(path, bytes), "limiting '{}'", path);
  return {};
}

Result<> ForgetTreeLimit(const std::string& path) {
  Result<UniqueFd> directory = OpenFile(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (!directory.ok() && directory.error().kind() == ErrorKind::kNotFound) return {};
  if (!directory.ok()) return std::move(directory).error();
  fsxattr attributes = {};
  // File systems without attributes have no projects either.
  if (::ioctl(directory->get(), FS_IOC_FSGETXATTR, &attributes) != 0) return {};
  bool ours = attributes.fsx_projid >= kFirstId && attributes.fsx_projid - kFirstId < kIds &&
              (attributes.fsx_xflags & FS_XFLAG_PROJINHERIT) != 0;
  if (!ours) return {};
  TRY_WITH(SetLimit(*directory, attributes.fsx_projid, 0), "freeing the limit of '{}'", path);
  return {};
}

}  // namespace gantry::kernel
