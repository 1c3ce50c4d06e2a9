// SPDX-License-Identifier: Apache-2.0
//
// A tar archive into a directory that may be in hostile hands, also while this works: docker cp.
// Every name is resolved by the kernel below a root; nothing of the archive, and nobody who renames
// and links meanwhile, leads outside of it. Whiteouts mean nothing here. One thread.
#pragma once

#include <optional>
#include <string>
#include <utility>

#include "base/byte_stream.h"
#include "base/error.h"
#include "base/stop_token.h"
#include "base/unique_fd.h"
#include "trees/entry_maker.h"

namespace gantry::trees {

// `archive` is not compressed. Entries go below options.base; a name that leads out of that by its
// ".." is kInvalidArgument. What came before an error stays.
Result<> ExtractTree(EntryMaker::Options options, ByteSource& archive, const StopToken& stop = {});

}  // namespace gantry::trees
