// SPDX-License-Identifier: Apache-2.0
#include "runtime/syscall_names.h"

#include <linux/audit.h>

#include <algorithm>
#include <iterator>

namespace gantry::runtime {
namespace {

constexpr SyscallNumbers kTable[] = {
#include <syscall_table.inc>  // made by tools/syscall_table
};

}  // namespace

std::optional<Architecture> ArchitectureOfName(std::string_view name) {
  if (name == "SCMP_ARCH_X86_64") return Architecture::kX86_64;
  if (name == "SCMP_ARCH_X86") return Architecture::kX86;
  if (name == "SCMP_ARCH_X32") return Architecture::kX32;
  if (name == "SCMP_ARCH_AARCH64") return Architecture::kArm64;
  if (name == "SCMP_ARCH_ARM") return Architecture::kArm;
  return std::nullopt;
}

Architecture NativeArchitecture() {
#if defined(__x86_64__)
  return Architecture::kX86_64;
#else
  return Architecture::kArm64;
#endif
}

uint32_t AuditValue(Architecture architecture) {
  switch (architecture) {
    case Architecture::kX86_64:
    case Architecture::kX32:
      return AUDIT_ARCH_X86_64;
    case Architecture::kX86:
      return AUDIT_ARCH_I386;
    case Architecture::kArm64:
      return AUDIT_ARCH_AARCH64;
    case Architecture::kArm:
      return AUDIT_ARCH_ARM;
  }
  return 0;
}

const SyscallNumbers* FindSyscall(std::string_view name, const SyscallNumbers* before) {
  const SyscallNumbers* end = std::end(kTable);
  if (before != nullptr) {
    for (const SyscallNumbers* next = before + 1; next != end && next <= before + 4; ++next) {
      if (next->name == name) return next;
    }
  }
  const SyscallNumbers* found = std::lower_bound(
      std::begin(kTable), end, name,
      [](const SyscallNumbers& entry, std::string_view wanted) { return entry.name < wanted; });
  return found == end || found->name != name ? nullptr : found;
}

}  // namespace gantry::runtime
