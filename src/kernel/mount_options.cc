// SPDX-License-Identifier: Apache-2.0
#include "kernel/mount_options.h"

#include <sys/mount.h>

#include <algorithm>

namespace gantry::kernel {
namespace {

// linux/mount.h has it since 5.14, glibc's header not; the two headers cannot be included together.
#ifndef MOUNT_ATTR_NOSYMFOLLOW
#define MOUNT_ATTR_NOSYMFOLLOW 0x00200000
#endif

struct AttributeOption {
  std::string_view name;  // an "r" before it makes it recursive
  uint64_t set;
  uint64_t clear;
};

// The access-time modes are one field of the attributes: to set one, the field is cleared first.
constexpr AttributeOption kAttributes[] = {
    {"ro", MOUNT_ATTR_RDONLY, 0},
    {"rw", 0, MOUNT_ATTR_RDONLY},
    {"nosuid", MOUNT_ATTR_NOSUID, 0},
    {"suid", 0, MOUNT_ATTR_NOSUID},
    {"nodev", MOUNT_ATTR_NODEV, 0},
    {"dev", 0, MOUNT_ATTR_NODEV},
    {"noexec", MOUNT_ATTR_NOEXEC, 0},
    {"exec", 0, MOUNT_ATTR_NOEXEC},
    {"noatime", MOUNT_ATTR_NOATIME, MOUNT_ATTR__ATIME},
    {"atime", MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME},
    {"relatime", MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME},
    {"norelatime", MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME},
    {"strictatime", MOUNT_ATTR_STRICTATIME, MOUNT_ATTR__ATIME},
    {"nostrictatime", MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME},
    {"nodiratime", MOUNT_ATTR_NODIRATIME, 0},
    {"diratime", 0, MOUNT_ATTR_NODIRATIME},
    {"nosymfollow", MOUNT_ATTR_NOSYMFOLLOW, 0},
    {"symfollow", 0, MOUNT_ATTR_NOSYMFOLLOW},
};

struct PropagationOption {
  std::string_view name;
  unsigned long flags;
};

constexpr PropagationOption kPropagation[] = {
    {"private", MS_PRIVATE},       {"rprivate", MS_PRIVATE | MS_REC},
    {"shared", MS_SHARED},         {"rshared", MS_SHARED | MS_REC},
    {"slave", MS_SLAVE},           {"rslave", MS_SLAVE | MS_REC},
    {"unbindable", MS_UNBINDABLE}, {"runbindable", MS_UNBINDABLE | MS_REC},
};

constexpr std::string_view kRecursiveNames[] = {
    "rro",       "rrw",          "rnosuid",      "rsuid",          "rnodev",
    "rdev",      "rnoexec",      "rexec",        "rnoatime",       "ratime",
    "rrelatime", "rnorelatime",  "rstrictatime", "rnostrictatime", "rnodiratime",
    "rdiratime", "rnosymfollow", "rsymfollow",
};

constexpr std::string_view kSpecial[] = {"bind", "rbind",     "remount", "defaults", "async",
                                         "loud", "tmpcopyup", "idmap",   "ridmap"};

bool ApplyAttribute(std::string_view name, MountAttributes* attributes) {
  for (const AttributeOption& option : kAttributes) {
    if (option.name != name) continue;
    // The last word counts: what is set stops being cleared, and the other way round.
    attributes->set = (attributes->set & ~option.clear) | option.set;
    attributes->clear = (attributes->clear & ~option.set) | option.clear;
    return true;
  }
  return false;
}

bool ApplySpecial(std::string_view name, MountOptions* out) {
  if (name == "bind") {
    if (out->bind == BindKind::kNone) out->bind = BindKind::kBind;
  } else if (name == "rbind") {
    out->bind = BindKind::kRecursive;
  } else if (name == "remount") {
    out->remount = true;
  } else if (name == "tmpcopyup") {
    out->copy_up = true;
  } else if (name == "idmap") {
    out->idmap = true;
  } else if (name == "ridmap") {
    out->idmap = out->idmap_recursive = true;
  } else {
    return name == "defaults" || name == "async" || name == "loud";  // the kernel's own defaults
  }
  return true;
}

}  // namespace

unsigned long PropagationFlags(std::string_view name) {
  for (const PropagationOption& option : kPropagation) {
    if (option.name == name) return option.flags;
  }
  return 0;
}

MountOptions ParseMountOptions(const std::vector<std::string>& options) {
  MountOptions out;
  for (const std::string& option : options) {
    if (option.empty() || ApplySpecial(option, &out)) continue;
    if (unsigned long flags = PropagationFlags(option)) {
      out.propagation.push_back(flags);
    } else if (ApplyAttribute(option, &out.attributes)) {
      continue;
    } else if (option.starts_with('r') &&
               ApplyAttribute(std::string_view(option).substr(1), &out.recursive_attributes)) {
      continue;
    } else {
      out.parameters.push_back(option);
    }
  }
  return out;
}

std::vector<std::string_view> KnownMountOptions() {
  std::vector<std::string_view> names(std::begin(kSpecial), std::end(kSpecial));
  for (const AttributeOption& option : kAttributes) names.push_back(option.name);
  for (const PropagationOption& option : kPropagation) names.push_back(option.name);
  names.insert(names.end(), std::begin(kRecursiveNames), std::end(kRecursiveNames));
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace gantry::kernel
