// SPDX-License-Identifier: Apache-2.0
//
// Mount options as config.json, containerd's Mount messages and fstab write them, sorted by where
// the kernel wants them: attributes of the mount, propagation, parameters of the file system. Pure;
// any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace gantry::kernel {

// What mount_setattr(2) changes: MOUNT_ATTR_* bits.
struct MountAttributes {
  uint64_t set = 0;
  uint64_t clear = 0;

  bool empty() const { return set == 0 && clear == 0; }
};

enum class BindKind : uint8_t { kNone, kBind, kRecursive };

struct MountOptions {
  BindKind bind = BindKind::kNone;
  bool remount = false;
  bool copy_up = false;  // tmpcopyup: the tmpfs begins with what the directory below holds
  bool idmap = false;    // by the mount's own mappings
  bool idmap_recursive = false;
  MountAttributes attributes;            // of the mount itself
  MountAttributes recursive_attributes;  // "rro", …: of everything below it too
  // MS_SHARED, MS_SLAVE, MS_PRIVATE, MS_UNBINDABLE, each with or without MS_REC, in order.
  std::vector<unsigned long> propagation;
  // For fsconfig(2): "name" or "name=value".
  std::vector<std::string> parameters;
};

MountOptions ParseMountOptions(const std::vector<std::string>& options);

// Every option that ParseMountOptions gives a meaning to (all else is a parameter), sorted; for
// `features`.
std::vector<std::string_view> KnownMountOptions();

// "shared", "rslave", … as mount(2) flags; 0 if unknown.
unsigned long PropagationFlags(std::string_view name);

}  // namespace gantry::kernel
