// SPDX-License-Identifier: Apache-2.0
#include "base/directory.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <string_view>

namespace gantry {

namespace {

// `what` is the directory in messages.
Result<std::vector<std::string>> NamesIn(DIR* directory, std::string_view what) {
  std::vector<std::string> names;
  errno = 0;
  while (const dirent* entry = ::readdir(directory)) {
    std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
    errno = 0;
  }
  if (errno != 0) return ErrnoError("listing {}", what);
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace

Result<std::vector<std::string>> ListDirectory(const std::string& path) {
  DirectoryHandle directory(::opendir(path.c_str()));
  if (!directory) return ErrnoError("listing '{}'", path);
  return NamesIn(directory.get(), fmt::format("'{}'", path));
}

Result<std::vector<std::string>> ListDirectory(BorrowedFd directory) {
  UniqueFd own(::openat(directory.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!own.valid()) return ErrnoError("listing a directory");
  DirectoryHandle listing(::fdopendir(own.get()));
  if (!listing) return ErrnoError("listing a directory");
  (void)own.Release();
  return NamesIn(listing.get(), "a directory");
}

Result<std::vector<std::string>> ListDirectoryIfThere(const std::string& path) {
  auto names = ListDirectory(path);
  if (!names.ok() && names.error().error_number() == ENOENT) return std::vector<std::string>();
  return names;
}

}  // namespace gantry
