// SPDX-License-Identifier: Apache-2.0
//
// Which names and labels are allowed; containerd's rules, since names travel between the two. Any
// thread.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "base/error.h"

namespace gantry::containerd {

// Namespaces, containers, leases, execs: 1 to 76 letters and digits, with single '.', '_' or '-'
// between them. They become names of directories.
Result<> CheckIdentifier(std::string_view name);
// A key and its value have at most 4096 bytes together, and the key is not empty.
Result<> CheckLabels(const std::map<std::string, std::string>& labels);

// As they are stored: a JSON object.
std::string EncodeLabels(const std::map<std::string, std::string>& labels);
Result<std::map<std::string, std::string>> DecodeLabels(std::string_view text);

}  // namespace gantry::containerd
