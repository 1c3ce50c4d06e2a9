// SPDX-License-Identifier: Apache-2.0
//
// Limits of what a directory tree takes: the "project quotas" of xfs and ext4 (quotactl(2),
// xfs_quota(8), ioctl_xfs_fsgetxattr(2)). A tree is a project, whose id stands on its directory and
// is inherited by all that is made in it; the limit is the file system's. Needs root. Any thread.
#pragma once

#include <cstdint>
#include <string>

#include "base/error.h"

namespace gantry::kernel {

// Whether the file system of `path` holds trees to their limits: it is mounted with `prjquota`
// (ext4) or `pquota` (xfs). False for file systems and kernels that know of none; an error when
// `path` cannot be opened.
Result<bool> HasProjectQuotas(const std::string& path);

// Makes the empty directory `path` a project that nobody else has: what is made in it from now on
// takes at most `bytes` (rounded up to 512), then write(2) and friends fail with EDQUOT or ENOSPC.
Result<> LimitTree(const std::string& path, uint64_t bytes);

// Takes the limit away, so that the id can be given again once the tree is gone. Nothing is done
// for a directory that is no project, or is not there.
Result<> ForgetTreeLimit(const std::string& path);

}  // namespace gantry::kernel
