// SPDX-License-Identifier: Apache-2.0
//
// Directories and the names in them.
#pragma once

#include <dirent.h>

#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"

namespace gantry {

struct DirectoryCloser {
  void operator()(DIR* directory) const { ::closedir(directory); }
};

// From opendir(3) or, which takes the descriptor over, fdopendir(3).
using DirectoryHandle = std::unique_ptr<DIR, DirectoryCloser>;

// Sorted, without "." and "..".
Result<std::vector<std::string>> ListDirectory(const std::string& path);
// From the beginning, wherever `directory` stands: it is opened anew.
Result<std::vector<std::string>> ListDirectory(BorrowedFd directory);
// The same as by path; a directory that is not there is empty.
Result<std::vector<std::string>> ListDirectoryIfThere(const std::string& path);

}  // namespace gantry
