// SPDX-License-Identifier: Apache-2.0
#include "engine/container_files.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <deque>
#include <utility>

#include "base/io.h"
#include "base/text.h"
#include "engine/mount_points.h"
#include "formats/go_file_mode.h"
#include "kernel/mount_view.h"
#include "kernel/paths.h"

namespace gantry::engine {
namespace {

constexpr int kMaxLinks = 255;
constexpr size_t kMaxCgroupText = size_t{64} << 10;

uint32_t GoMode(mode_t mode) {
  uint32_t out = mode & 0777;
  switch (mode & S_IFMT) {
    case S_IFDIR:
      out |= formats::kModeDirectory;
      break;
    case S_IFLNK:
      out |= formats::kModeSymlink;
      break;
    case S_IFBLK:
      out |= formats::kModeDevice;
      break;
    case S_IFCHR:
      out |= formats::kModeDevice | formats::kModeCharDevice;
      break;
    case S_IFIFO:
      out |= formats::kModeNamedPipe;
      break;
    case S_IFSOCK:
      out |= formats::kModeSocket;
      break;
    default:
      break;
  }
  if ((mode & S_ISUID) != 0) out |= formats::kModeSetuid;
  if ((mode & S_ISGID) != 0) out |= formats::kModeSetgid;
  if ((mode & S_ISVTX) != 0) out |= formats::kModeSticky;
  return out;
}

Error NotRunning(const ContainerRecord& record) {
  return MakeError(ErrorKind::kAborted, "container {} is not running", record.id);
}

// A process that has ended has no such file any more.
Error FailureOf(const ContainerRecord& record, const Error& error) {
  bool ended = error.error_number() == ENOENT || error.error_number() == ESRCH;
  return ended ? NotRunning(record) : error;
}

// The process directory pins the process: once its cgroup has said that it is the container's,
// everything below it is the container's or fails.
Result<UniqueFd> OpenProcess(const ContainerRecord& record) {
  auto process = OpenFile(fmt::format("/proc/{}", record.state.pid), O_PATH | O_DIRECTORY);
  if (!process.ok()) return FailureOf(record, process.error());
  UniqueFd file(::openat(process->get(), "cgroup", O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return FailureOf(record, ErrnoError("reading the cgroup of {}", record.id));
  auto cgroups = ReadToEnd(file, kMaxCgroupText);
  if (!cgroups.ok()) return FailureOf(record, cgroups.error());
  if (cgroups->find(record.id) == std::string::npos) return NotRunning(record);
  return process;
}

uint64_t MountIdOf(BorrowedFd file) {
  struct statx status{};
  if (::statx(file.get(), "", AT_EMPTY_PATH, STATX_MNT_ID, &status) != 0) return 0;
  return status.stx_mnt_id;
}

}  // namespace

Result<UniqueFd> OpenRootOfProcess(const ContainerRecord& record) {
  UniqueFd process = TRY(OpenProcess(record));
  UniqueFd root(::openat(process.get(), "root", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!root.valid()) return FailureOf(record, ErrnoError("opening the root of {}", record.id));
  return root;
}

Result<UniqueFd> CloneRootOfProcess(const ContainerRecord& record) {
  UniqueFd process = TRY(OpenProcess(record));
  UniqueFd mounts(::openat(process.get(), "ns/mnt", O_RDONLY | O_CLOEXEC));
  if (!mounts.valid()) {
    return FailureOf(record, ErrnoError("opening the mount namespace of {}", record.id));
  }
  return kernel::CloneRootOf(mounts);
}

std::string CleanPathOfCopy(const std::string& path) {
  std::string clean = CleanPath("/" + path);
  std::string_view name = path;
  while (name.ends_with('/')) name.remove_suffix(1);
  bool dot = name == "." || name.ends_with("/.");
  if (dot) return clean == "/" ? "/." : clean + "/.";
  if (path.ends_with('/') && clean != "/") clean += '/';
  return clean;
}

std::string BaseOf(const std::string& path) {
  std::string_view rest = path;
  while (rest.size() > 1 && rest.ends_with('/')) rest.remove_suffix(1);
  if (rest == "/") return "/";
  return std::string(rest.substr(rest.rfind('/') + 1));
}

Result<std::string> FollowLinks(BorrowedFd root, const std::string& path) {
  std::deque<std::string> pending;
  auto push = [&](const std::string& text) {
    std::vector<std::string> parts = SplitWords(text, "/");
    pending.insert(pending.begin(), parts.begin(), parts.end());
  };
  push(path);
  std::string at;
  for (int links = 0; !pending.empty();) {
    std::string part = std::move(pending.front());
    pending.pop_front();
    if (part == ".") continue;
    if (part == "..") {
      at.resize(at.empty() ? 0 : at.rfind('/'));
      continue;
    }
    std::string next = at + "/" + part;
    Result<UniqueFd> entry = kernel::OpenIn(root, next, O_PATH | O_NOFOLLOW);
    char target[PATH_MAX];
    ssize_t size = entry.ok() ? ::readlinkat(entry->get(), "", target, sizeof target) : -1;
    if (size < 0) {  // no link, or nothing at all
      at = std::move(next);
      continue;
    }
    if (++links > kMaxLinks) return ErrnoErrorOf(ELOOP, fmt::format("following '{}'", path));
    std::string text(target, static_cast<size_t>(size));
    if (text.starts_with('/')) at.clear();
    push(text);
  }
  return at.empty() ? "/" : at;
}

Result<PathStat> StatIn(BorrowedFd root, const std::string& path) {
  UniqueFd entry = TRY(kernel::OpenIn(root, path, O_PATH | O_NOFOLLOW));
  struct stat status;
  if (::fstat(entry.get(), &status) != 0) return ErrnoError("reading '{}'", path);
  PathStat stat;
  stat.name = BaseOf(path);
  stat.size = status.st_size;
  stat.mode = GoMode(status.st_mode);
  stat.mtime =
      FromUnixNanos(int64_t{status.st_mtim.tv_sec} * 1'000'000'000 + status.st_mtim.tv_nsec);
  stat.is_directory = S_ISDIR(status.st_mode);
  if (S_ISLNK(status.st_mode)) stat.link_target = TRY(FollowLinks(root, path));
  return stat;
}

Result<> CheckWritable(BorrowedFd root, BorrowedFd directory, bool readonly_rootfs) {
  struct statvfs status;
  if (::fstatvfs(directory.get(), &status) != 0) return ErrnoError("looking at the destination");
  bool read_only = (status.f_flag & ST_RDONLY) != 0;
  bool in_root = MountIdOf(directory) == MountIdOf(root);
  if (in_root && (read_only || readonly_rootfs)) {
    return InvalidArgument("container rootfs is marked read-only");
  }
  if (read_only) return InvalidArgument("mounted volume is marked read-only");
  return {};
}

}  // namespace gantry::engine
