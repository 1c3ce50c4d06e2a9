// SPDX-License-Identifier: Apache-2.0
//
// Bits of Go's os.FileMode beside the permissions, as docker's path statistics and fsutil's packets
// have them (https://pkg.go.dev/io/fs#FileMode).
#pragma once

#include <cstdint>

namespace gantry::formats {

inline constexpr uint32_t kModeDirectory = 1u << 31;
inline constexpr uint32_t kModeSymlink = 1u << 27;
inline constexpr uint32_t kModeDevice = 1u << 26;
inline constexpr uint32_t kModeNamedPipe = 1u << 25;
inline constexpr uint32_t kModeSocket = 1u << 24;
inline constexpr uint32_t kModeSetuid = 1u << 23;
inline constexpr uint32_t kModeSetgid = 1u << 22;
inline constexpr uint32_t kModeCharDevice = 1u << 21;
inline constexpr uint32_t kModeSticky = 1u << 20;
inline constexpr uint32_t kModeIrregular = 1u << 19;
// Any of them: it is no regular file.
inline constexpr uint32_t kModeType = kModeDirectory | kModeSymlink | kModeNamedPipe | kModeSocket |
                                      kModeDevice | kModeCharDevice | kModeIrregular;

}  // namespace gantry::formats
