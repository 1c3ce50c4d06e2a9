// SPDX-License-Identifier: Apache-2.0
//
// Rotated files of a log that the shim has compressed, as formats::JsonLogReader reads them.
#pragma once

#include <memory>

#include "base/byte_stream.h"
#include "base/error.h"
#include "base/unique_fd.h"

namespace gantry::engine {

// `file`, which outlives the source, decompressed as it is read.
Result<std::unique_ptr<ByteSource>> UnpackLog(BorrowedFd file);

}  // namespace gantry::engine
