// SPDX-License-Identifier: Apache-2.0
//
// Reads the key-value file of bbolt (go.etcd.io/bbolt, page.go and bucket.go), in which dockerd
// keeps its networks and volumes: a tree of buckets of pages. Nobody may be writing meanwhile.
// Numbers are little-endian, as on every machine that the file comes from here. Pure; any thread.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "base/error.h"

namespace gantry::formats {

// The pairs of one bucket of the file's root, buckets in it left out. kNotFound: there is none of
// that name; kInvalidArgument: this is no such file, or a broken one.
Result<std::map<std::string, std::string>> ReadBoltBucket(std::string_view file,
                                                          std::string_view bucket);

}  // namespace gantry::formats
