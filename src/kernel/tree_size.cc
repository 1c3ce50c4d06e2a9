// SPDX-License-Identifier: Apache-2.0
#include "kernel/tree_size.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <set>
#include <string_view>
#include <utility>

#include "base/directory.h"

namespace gantry::kernel {
namespace {

class SizeCounter {
 public:
  Result<> Add(UniqueFd directory) {
    DirectoryHandle listing(::fdopendir(directory.get()));
    if (!listing) return ErrnoError("listing a directory");
    int fd = directory.Release();
    for (;;) {
      errno = 0;
      const dirent* entry = ::readdir(listing.get());
      if (entry == nullptr && errno != 0) return ErrnoError("listing a directory");
      if (entry == nullptr) return {};
      std::string_view name = entry->d_name;
      if (name != "." && name != "..") TRY(AddEntry(fd, entry->d_name));
    }
  }
  int64_t bytes() const { return bytes_; }

 private:
  Result<> AddEntry(int parent, const char* name) {
    struct stat status;
    if (::fstatat(parent, name, &status, AT_SYMLINK_NOFOLLOW) != 0) {
      if (errno == ENOENT) return {};
      return ErrnoError("reading '{}' in a tree", name);
    }
    if (!S_ISDIR(status.st_mode)) {
      if (seen_.insert({status.st_dev, status.st_ino}).second) bytes_ += status.st_size;
      return {};
    }
    UniqueFd inner(::openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!inner.valid()) {
      if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP) return {};
      return ErrnoError("opening '{}' in a tree", name);
    }
    if (++depth_ > kMaxDepth) return MakeError(ErrorKind::kResourceExhausted, "too many levels");
    Result<> added = Add(std::move(inner));
    --depth_;
    return added;
  }

  static constexpr int kMaxDepth = 1000;  // each holds a descriptor
  std::set<std::pair<dev_t, ino_t>> seen_;
  int64_t bytes_ = 0;
  int depth_ = 0;
};

}  // namespace

Result<int64_t> TreeSize(UniqueFd directory) {
  SizeCounter counter;
  TRY(counter.Add(std::move(directory)));
  return counter.bytes();
}

}  // namespace gantry::kernel
