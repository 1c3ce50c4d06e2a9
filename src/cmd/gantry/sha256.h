// SPDX-License-Identifier: Apache-2.0
//
// SHA-256 (FIPS 180-4) of a few bytes: contexts are filed under the digest of their name. Linking
// OpenSSL for it would cost every start of the program more than all else that it does.
#pragma once

#include <string>
#include <string_view>

namespace gantry::cli {

// 64 lower-case digits.
std::string Sha256Hex(std::string_view data);

}  // namespace gantry::cli
