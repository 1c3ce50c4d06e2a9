// SPDX-License-Identifier: Apache-2.0
//
// A file from the web, for builds and imports. Any thread; a call blocks.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/stop_token.h"
#include "registry/http_transfer.h"

namespace gantry::registry {

// GETs it, redirects followed, and hands the body on piece by piece. A status of 400 on is docker's
// "failed to GET URL with status …", with the status's kind.
Result<HttpAnswer> Download(const std::string& url,
                            const std::function<Result<>(std::string_view data)>& write,
                            const StopToken& stop);

}  // namespace gantry::registry
