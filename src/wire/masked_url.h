// SPDX-License-Identifier: Apache-2.0
//
// URLs in logs and answers. Pure; any thread.
#pragma once

#include <string>

namespace gantry::wire {

// "http://user:secret@proxy" as "http://xxxxx:xxxxx@proxy"; one without a user as it is.
std::string MaskCredentials(const std::string& url);

}  // namespace gantry::wire
