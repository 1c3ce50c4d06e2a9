// SPDX-License-Identifier: Apache-2.0
//
// Plain descriptors and files: whole reads and writes that survive EINTR and short counts, files
// that are replaced atomically. Every read is bounded. Any thread.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/unique_fd.h"

namespace gantry {

// open(2) with O_CLOEXEC.
Result<UniqueFd> OpenFile(const std::string& path, int flags, mode_t mode = 0);

// Up to `size` bytes; 0 at end of file. EINTR is retried; EAGAIN is an error of kind kUnavailable.
Result<size_t> ReadSome(BorrowedFd fd, void* buffer, size_t size);
// Exactly `size` bytes, or an error of kind kOutOfRange at an early end of file.
Result<> ReadExactly(BorrowedFd fd, void* buffer, size_t size);
// Writes all of it; for blocking descriptors.
Result<> WriteAll(BorrowedFd fd, std::string_view data);
// Reads to the end of file; more than `limit` bytes is an error of kind kResourceExhausted.
Result<std::string> ReadToEnd(BorrowedFd fd, size_t limit);

// A whole file; default limit 16 MiB.
Result<std::string> ReadFile(const std::string& path, size_t limit = size_t{16} << 20);
// Creates or truncates, then writes; not atomic. For files in /proc, /sys and cgroups: WriteFile
// opens without O_CREAT.
Result<> WriteFile(const std::string& path, std::string_view data);
Result<> CreateFile(const std::string& path, std::string_view data, mode_t mode);

enum class Durability {
  kProcessCrash,  // survives kill -9 of the writer: rename only
  kPowerCut,      // file and directory are synced too
};
// Writes `path` + ".tmp-<pid>" and renames it over `path`: a reader sees the old or the new file.
Result<> ReplaceFile(const std::string& path, std::string_view data, mode_t mode,
                     Durability durability = Durability::kProcessCrash);

// mkdir -p with this mode for each directory that is created.
Result<> MakeDirectories(const std::string& path, mode_t mode);
bool PathExists(const std::string& path);

}  // namespace gantry
