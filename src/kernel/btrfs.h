// SPDX-License-Identifier: Apache-2.0
//
// Subvolumes of btrfs by the kernel's own calls (linux/btrfs.h, btrfs(5)); needs root. Any thread.
#pragma once

#include <cstdint>
#include <string>

#include "base/error.h"

namespace gantry::kernel {

// False when `path` is on another file system; an error when it cannot be looked at.
Result<bool> IsBtrfs(const std::string& path);

// The directory that `path` names must be there, its last part must not.
Result<> CreateSubvolume(const std::string& path);
enum class SubvolumeAccess { kReadWrite, kReadOnly };
// A copy of the subvolume `source` that shares its bytes.
Result<> SnapshotSubvolume(const std::string& source, const std::string& path,
                           SubvolumeAccess access);
// With everything in it; the kernel frees the space later. kFailedPrecondition: another subvolume
// is in it. kNotFound: there is nothing.
Result<> DeleteSubvolume(const std::string& path);

// What is written into the subvolume `path` and shared with no other takes at most `bytes`; then
// write(2) fails with EDQUOT. The file system counts from then on what each subvolume takes
// (btrfs-quota(8)), which it is told the first time.
Result<> LimitSubvolume(const std::string& path, uint64_t bytes);

}  // namespace gantry::kernel
