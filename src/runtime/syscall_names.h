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

// Nothing where the architecture has no such call. x32's numbers have bit 30 set.
std::optional<uint32_t> SyscallNumber(std::string_view name, Architecture architecture);

}  // namespace gantry::runtime
