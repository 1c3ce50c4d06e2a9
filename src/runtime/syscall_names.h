// SPDX-License-Identifier: Apache-2.0
//
// System call numbers by name and architecture. Pure; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace gantry::runtime {

// The order of the table's columns.
enum class Architecture : uint8_t { kX86_64, kX86, kX32, kArm64, kArm };

// "SCMP_ARCH_X86_64", …; nothing for one that this program does not know.
std::optional<Architecture> ArchitectureOfName(std::string_view name);
// What this program is built for.
Architecture NativeArchitecture();
// The AUDIT_ARCH_* value in seccomp_data.
uint32_t AuditValue(Architecture architecture);

// The numbers of one call. x32's have bit 30 set.
struct SyscallNumbers {
  std::string_view name;
  int numbers[5];  // by Architecture; -1 where it has no such call

  std::optional<uint32_t> On(Architecture architecture) const {
    int number = numbers[static_cast<size_t>(architecture)];
    return number < 0 ? std::nullopt : std::optional<uint32_t>(static_cast<uint32_t>(number));
  }
};
// nullptr for a name that no architecture knows. `before`: what was found before this one; profiles
// name calls in alphabetical order mostly, so that this one is close behind.
const SyscallNumbers* FindSyscall(std::string_view name, const SyscallNumbers* before = nullptr);

}  // namespace gantry::runtime
