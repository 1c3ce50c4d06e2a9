// SPDX-License-Identifier: Apache-2.0
#include "build/cache_space.h"

#include <sys/statvfs.h>

#include <algorithm>

namespace gantry::build {
namespace {

Result<int64_t> BytesToKeep(const SpaceLimits& limits, int64_t total,
                            const std::string& directory) {
  if (limits.most == 0 && limits.free_disk == 0) return limits.reserved;
  int64_t keep = limits.most == 0 ? total : limits.most;
  if (limits.free_disk > 0) {
    struct statvfs disk;
    if (::statvfs(directory.c_str(), &disk) != 0) {
      return ErrnoError("looking at the file system of '{}'", directory);
    }
    auto there = static_cast<int64_t>(disk.f_bavail * disk.f_frsize);
    keep = std::min(keep, total - std::max<int64_t>(limits.free_disk - there, 0));
  }
  return std::max(keep, limits.reserved);
}

}  // namespace

Result<std::set<std::string>> KeysToKeep(std::vector<CachedStep> steps, const SpaceLimits& limits,
                                         const std::string& directory) {
  int64_t total = 0;
  for (const CachedStep& step : steps) total += step.size;
  int64_t keep = TRY(BytesToKeep(limits, total, directory));
  std::set<std::string> kept;
  if (keep <= 0) return kept;
  std::sort(steps.begin(), steps.end(),
            [](const auto& a, const auto& b) { return a.used_at > b.used_at; });
  for (const CachedStep& step : steps) {
    keep -= step.size;
    if (keep >= 0) kept.insert(step.key);
  }
  return kept;
}

}  // namespace gantry::build
