// SPDX-License-Identifier: Apache-2.0
//
// bzip2 and xz, which nobody's layers have but which clients send: docker load, docker import,
// docker cp. For compression.cc, which knows when. The one wrapper of libbz2 and liblzma, both
// linked statically. One thread at a time.
#pragma once

#include <memory>

#include "base/byte_stream.h"

namespace gantry::formats::compression {

// Several streams in a row are one, as bzip2(1) and xz(1) have it. `source` outlives the result.
std::unique_ptr<ByteSource> MakeBzip2Source(ByteSource& source);
// Needs at most 128 MiB: what "xz -9" makes takes 65; more is kInvalidArgument.
std::unique_ptr<ByteSource> MakeXzSource(ByteSource& source);

}  // namespace gantry::formats::compression
