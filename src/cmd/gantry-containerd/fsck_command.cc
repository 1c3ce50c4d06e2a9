// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantry-containerd/fsck_command.h"

#include <stdio.h>

#include "containerd/fsck.h"

namespace gantry::containerd {

int RunFsck(const Options& options) {
  FsckOptions wanted{.root = options.root,
                     .repair = options.repair,
                     .quick = options.quick,
                     .inventory = options.inventory};
  auto result = Fsck(wanted, [](const std::string& line) { puts(line.c_str()); });
  if (!result.ok()) {
    fprintf(stderr, "gantry-containerd: %s\n", result.error().message().c_str());
    return 1;
  }
  printf("%zu blobs, %zu snapshots: %zu faults, %zu repaired\n", result->checked_blobs,
         result->checked_snapshots, result->faults, result->repaired);
  return result->faults == result->repaired ? 0 : 1;
}

}  // namespace gantry::containerd
