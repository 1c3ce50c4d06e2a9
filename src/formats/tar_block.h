// SPDX-License-Identifier: Apache-2.0
//
// The 512-byte header block of tar archives: field positions, for tar_reader.cc and tar_writer.cc.
#pragma once

#include <cstddef>

namespace gantry::formats::tar_block {

inline constexpr size_t kBlock = 512;

struct Field {
  size_t offset;
  size_t size;
};
inline constexpr Field kName{0, 100};
inline constexpr Field kMode{100, 8};
inline constexpr Field kUid{108, 8};
inline constexpr Field kGid{116, 8};
inline constexpr Field kSize{124, 12};
inline constexpr Field kMtime{136, 12};
inline constexpr Field kChecksum{148, 8};
inline constexpr size_t kType = 156;
inline constexpr Field kLinkName{157, 100};
inline constexpr Field kMagic{257, 6};
inline constexpr Field kVersion{263, 2};
inline constexpr Field kDeviceMajor{329, 8};
inline constexpr Field kDeviceMinor{337, 8};
inline constexpr Field kPrefix{345, 155};

}  // namespace gantry::formats::tar_block
