// SPDX-License-Identifier: Apache-2.0
#include "engine/stdio_uri.h"

#include <fmt/core.h>

#include <charconv>
#include <utility>

#include "formats/human_units.h"
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

Result<StdioUri> MakeStdioUri(const ContainerRecord& record, std::string socket, std::string log) {
  StdioUri uri;
  uri.socket = std::move(socket);
  if (record.config.open_stdin) uri.stdin_mode = record.config.stdin_once ? "once" : "open";
  const LogConfig& options = record.host.log_config;
  if (options.type == "none") return uri;
  if (!options.type.empty() && options.type != "json-file") {
    return InvalidArgument("logger: no log driver named '{}' is registered", options.type);
  }
  for (const auto& [name, value] : options.config) {
    bool known =
        name == "max-size" || name == "max-file" || (name == "mode" && value == "blocking");
    if (!known) return InvalidArgument("unknown log opt '{}' for json-file log driver", name);
  }
  uri.log = std::move(log);
  auto size = options.config.find("max-size");
  if (size != options.config.end() && size->second != "-1") {
    uri.log_max_size =
        TRY_WITH(formats::ParseBinarySize(size->second), "invalid value for max-size");
    if (uri.log_max_size <= 0) {
      return InvalidArgument("invalid value for max-size: {}", size->second);
    }
  }
  auto files = options.config.find("max-file");
  if (files != options.config.end()) {
    const std::string& text = files->second;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), uri.log_max_file);
    if (error != std::errc() || end != text.data() + text.size() || uri.log_max_file < 1) {
      return InvalidArgument("invalid value for max-file: {}: it is no number from 1", text);
    }
    if (uri.log_max_size < 0 && uri.log_max_file > 1) {
      return InvalidArgument("max-file cannot be used without max-size");
    }
  }
  return uri;
}

}  // namespace gantry::engine
