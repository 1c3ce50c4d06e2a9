// SPDX-License-Identifier: Apache-2.0
#include "containerd/parts.h"

namespace gantry::containerd {

Result<snapshots::Snapshotter*> FindSnapshotter(const Parts& parts, const std::string& name) {
  auto found = parts.snapshotters.find(name.empty() ? kDefaultSnapshotter : name);
  if (found == parts.snapshotters.end()) {
    return InvalidArgument("snapshotter not loaded: {}", name);
  }
  return found->second;
}

}  // namespace gantry::containerd
