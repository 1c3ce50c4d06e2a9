// SPDX-License-Identifier: Apache-2.0
#include "snapshots/disk_usage.h"

#include <fts.h>
#include <sys/stat.h>

#include <memory>
#include <set>

namespace gantry::snapshots {
namespace {

struct FtsCloser {
  void operator()(FTS* tree) const { ::fts_close(tree); }
};

}  // namespace

Result<Usage> DiskUsage(const std::string& directory) {
  std::string path = directory;
  char* roots[] = {path.data(), nullptr};
  std::unique_ptr<FTS, FtsCloser> tree(
      ::fts_open(roots, FTS_PHYSICAL | FTS_XDEV | FTS_NOCHDIR, nullptr));
  if (!tree) return ErrnoError("counting '{}'", directory);
  Usage usage;
  std::set<ino_t> linked;
  errno = 0;
  while (FTSENT* entry = ::fts_read(tree.get())) {
    switch (entry->fts_info) {
      case FTS_DP:
        break;
      case FTS_DNR:
      case FTS_ERR:
      case FTS_NS:
        // Something that is deleted while it is counted takes nothing.
        if (entry->fts_errno == ENOENT) break;
        return ErrnoErrorOf(entry->fts_errno, fmt::format("counting '{}'", entry->fts_path));
      default: {
        const struct stat& status = *entry->fts_statp;
        bool many = status.st_nlink > 1 && !S_ISDIR(status.st_mode);
        if (many && !linked.insert(status.st_ino).second) break;
        usage.bytes += static_cast<uint64_t>(status.st_blocks) * 512;
        ++usage.inodes;
      }
    }
    errno = 0;
  }
  if (errno != 0) return ErrnoError("counting '{}'", directory);
  return usage;
}

}  // namespace gantry::snapshots
