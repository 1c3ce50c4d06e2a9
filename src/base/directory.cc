// SPDX-License-Identifier: Apache-2.0
#include "base/directory.h"

#include <algorithm>
#include <cerrno>
#include <string_view>

namespace gantry {

Result<std::vector<std::string>> ListDirectory(const std::string& path) {
  DirectoryHandle directory(::opendir(path.c_str()));
  if (!directory) return ErrnoError("listing '{}'", path);
  std::vector<std::string> names;
  errno = 0;
  while (const dirent* entry = ::readdir(directory.get())) {
    std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
    errno = 0;
  }
  if (errno != 0) return ErrnoError("listing '{}'", path);
  std::sort(names.begin(), names.end());
  return names;
}

Result<std::vector<std::string>> ListDirectoryIfThere(const std::string& path) {
  auto names = ListDirectory(path);
  if (!names.ok() && names.error().error_number() == ENOENT) return std::vector<std::string>();
  return names;
}

}  // namespace gantry
