// SPDX-License-Identifier: Apache-2.0
//
// Looks at a result's files for a front end (ReadFile, ReadDir, StatFile of LLBBridge): below its
// root, links followed inside of it. Any thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"
#include "fsutil/wire.pb.h"

namespace gantry::buildkit {

// `length` bytes from `offset` on; 0: to the end, at most 16 MiB.
Result<std::string> ReadResultFile(BorrowedFd root, const std::string& path, int64_t offset,
                                   int64_t length);
// Those that fit the pattern ("": all), sorted.
Result<std::vector<fsutil::types::Stat>> ListResultDirectory(BorrowedFd root,
                                                             const std::string& path,
                                                             const std::string& pattern);
Result<fsutil::types::Stat> StatResultFile(BorrowedFd root, const std::string& path);

}  // namespace gantry::buildkit
