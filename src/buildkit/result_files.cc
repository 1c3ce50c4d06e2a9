// SPDX-License-Identifier: Apache-2.0
#include "buildkit/result_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>

#include "base/directory.h"
#include "buildkit/tree_sender.h"
#include "dockerfile/patterns.h"
#include "engine/container_files.h"
#include "kernel/paths.h"

namespace gantry::buildkit {
namespace {

using fsutil::types::Stat;

// What fits into a message.
constexpr int64_t kMostFileBytes = int64_t{16} << 20;

Result<Stat> StatOf(BorrowedFd directory, const std::string& name) {
  struct stat status;
  if (::fstatat(directory.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
    return ErrnoError("reading '{}'", name);
  }
  Stat out;
  out.set_path(name);
  FillStat(status, &out);
  if (!S_ISLNK(status.st_mode)) return out;
  char link[PATH_MAX];
  ssize_t size = ::readlinkat(directory.get(), name.c_str(), link, sizeof link);
  if (size < 0) return ErrnoError("reading '{}'", name);
  out.set_linkname(std::string(link, static_cast<size_t>(size)));
  return out;
}

}  // namespace

Result<std::string> ReadResultFile(BorrowedFd root, const std::string& path, int64_t offset,
                                   int64_t length) {
  UniqueFd file =
      TRY_WITH(kernel::OpenIn(root, path, O_RDONLY | O_NONBLOCK), "failed to open {}", path);
  struct stat status;
  if (::fstat(file.get(), &status) != 0) return ErrnoError("reading '{}'", path);
  if (!S_ISREG(status.st_mode)) return InvalidArgument("{} is not a regular file", path);
  if (offset < 0 || length < 0) return InvalidArgument("a range of '{}' is negative", path);
  int64_t left = std::max<int64_t>(0, status.st_size - offset);
  if (length > 0) left = std::min(left, length);
  if (left > kMostFileBytes) {
    return MakeError(ErrorKind::kResourceExhausted, "{} is too large to be read at once", path);
  }
  std::string out(static_cast<size_t>(left), '\0');
  size_t have = 0;
  while (have < out.size()) {
    ssize_t size = ::pread(file.get(), out.data() + have, out.size() - have,
                           offset + static_cast<int64_t>(have));
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return ErrnoError("reading '{}'", path);
    if (size == 0) break;
    have += static_cast<size_t>(size);
  }
  out.resize(have);
  return out;
}

Result<std::vector<Stat>> ListResultDirectory(BorrowedFd root, const std::string& path,
                                              const std::string& pattern) {
  UniqueFd directory =
      TRY_WITH(kernel::OpenIn(root, path, O_RDONLY | O_DIRECTORY), "failed to open {}", path);
  std::vector<std::string> names = TRY(ListDirectory(directory));
  std::sort(names.begin(), names.end());
  std::vector<Stat> out;
  for (const std::string& name : names) {
    if (!pattern.empty() && !dockerfile::MatchPath(pattern, name)) continue;
    out.push_back(TRY(StatOf(directory, name)));
  }
  return out;
}

Result<Stat> StatResultFile(BorrowedFd root, const std::string& path) {
  std::string real = TRY_WITH(engine::FollowLinks(root, path), "failed to stat {}", path);
  if (real.empty() || real == "/") {
    Stat out = TRY(StatOf(root, "."));
    out.set_path("/");
    return out;
  }
  auto place = TRY_WITH(kernel::OpenParentIn(root, real), "failed to stat {}", path);
  return TRY_WITH(StatOf(place.parent, place.name), "failed to stat {}", path);
}

}  // namespace gantry::buildkit
