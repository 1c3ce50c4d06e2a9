// SPDX-License-Identifier: Apache-2.0
//
// Copies what is in one directory into another, empty one: contents (reflinked where the file
// system can), modes, owners, times, extended attributes, hard links, devices. For snapshots that
// nobody writes to meanwhile. Any thread.
#pragma once

#include <string>

#include "base/error.h"

namespace gantry::snapshots {

Result<> CopyTree(const std::string& from, const std::string& to);

}  // namespace gantry::snapshots
