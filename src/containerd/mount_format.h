// SPDX-License-Identifier: Apache-2.0
//
// What stands before a "/" in the type of a mount that the mount store makes
// ("format/mkdir/overlay"): the mount is changed before it is made.
//
//   format  "{{ mount 0 }}", "{{ source 0 }}", "{{ target 0 }}", "{{ overlay 0 2 }}" in source,
//           target and options stand for what is active already
//   mkdir   option X-containerd.mkdir.path=PATH[:MODE[:UID:GID]] makes a directory
//   mkfs    options X-containerd.mkfs.{size,fs,uuid} make a file with a file system at the source
//
// mkdir and mkfs work below the daemon's own directories only. Blocks; any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "containerd/types/mount.pb.h"

namespace gantry::containerd {

bool IsMountTransform(std::string_view name);

struct TransformScope {
  const std::vector<::containerd::types::ActiveMount>& active;
  const std::vector<std::string>& roots;  // where mkdir and mkfs may work
};
// Takes all transforms off the type and applies them, the first one first.
Result<> TransformMount(const TransformScope& scope, ::containerd::types::Mount* mount);

// "{{ mount 0 }}/x" with its values. kInvalidArgument says what is wrong.
Result<std::string> ExpandMountTemplate(
    std::string_view text, const std::vector<::containerd::types::ActiveMount>& active);

}  // namespace gantry::containerd
