// SPDX-License-Identifier: Apache-2.0
//
// Base64 (RFC 4648), both alphabets. Pure; any thread.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"

namespace gantry::formats {

// Takes the standard and the URL alphabet, with or without padding.
Result<std::string> DecodeBase64(std::string_view text);
// Standard alphabet, padded.
std::string EncodeBase64(std::string_view data);

}  // namespace gantry::formats
