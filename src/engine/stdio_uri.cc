// SPDX-License-Identifier: Apache-2.0
#include "engine/stdio_uri.h"

#include <fmt/core.h>

#include "wire/url.h"

namespace gantry::engine {

std::string StdioUri::Format() const {
  std::string out = "gantry://" + wire::PercentEncodePath(socket) + "?stdin=" + stdin_mode;
  if (!log.empty()) {
    out += "&driver=json-file&log=" + wire::PercentEncode(log);
    out += fmt::format("&max-size={}&max-file={}", log_max_size, log_max_file);
  }
  return out + "&version=1";
}

}  // namespace gantry::engine
