// SPDX-License-Identifier: Apache-2.0
#include "kernel/capabilities.h"

#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace gantry::kernel {
namespace {

constexpr int kMaxCapability = 63;

Result<> CapSet(uint64_t effective, uint64_t permitted, uint64_t inheritable) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2];
  for (int word = 0; word < 2; ++word) {
    data[word].effective = static_cast<uint32_t>(effective >> (32 * word));
    data[word].permitted = static_cast<uint32_t>(permitted >> (32 * word));
    data[word].inheritable = static_cast<uint32_t>(inheritable >> (32 * word));
  }
  if (::syscall(SYS_capset, &header, data) < 0) return ErrnoError("setting capabilities");
  return {};
}

}  // namespace

Result<uint64_t> BoundingSet() {
  uint64_t set = 0;
  for (int capability = 0; capability <= kMaxCapability; ++capability) {
    int has = ::prctl(PR_CAPBSET_READ, capability, 0, 0, 0);
    if (has < 0) break;  // EINVAL: the kernel knows no more
    if (has > 0) set |= uint64_t{1} << capability;
  }
  return set;
}

Result<> DropBoundingSet(uint64_t keep) {
  for (int capability = 0; capability <= kMaxCapability; ++capability) {
    if ((keep >> capability & 1) != 0) continue;
    if (::prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0) {
      if (errno == EINVAL) break;  // the kernel knows no more
      return ErrnoError("dropping capability {} from the bounding set", capability);
    }
  }
  return {};
}

Result<uint64_t> RaisePermitted() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2];
  if (::syscall(SYS_capget, &header, data) < 0) return ErrnoError("reading capabilities");
  for (__user_cap_data_struct& word : data) word.effective = word.permitted;
  if (::syscall(SYS_capset, &header, data) < 0) return ErrnoError("setting capabilities");
  return data[0].permitted | uint64_t{data[1].permitted} << 32;
}

Result<> SetCapabilities(const CapabilitySets& sets) {
  TRY(CapSet(sets.effective, sets.permitted, sets.inheritable));
  if (::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0) {
    return ErrnoError("clearing ambient capabilities");
  }
  for (int capability = 0; capability <= kMaxCapability; ++capability) {
    if ((sets.ambient >> capability & 1) == 0) continue;
    if (::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0) < 0) {
      // Ambient ones must be permitted and inheritable; runc only warns, and Debian's `runc spec`
      // asks for ambient ones without inheritable ones.
      if (errno == EPERM || errno == EINVAL) continue;
      return ErrnoError("raising ambient capability {}", capability);
    }
  }
  return {};
}

}  // namespace gantry::kernel
