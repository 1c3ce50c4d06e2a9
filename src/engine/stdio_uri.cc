// SPDX-License-Identifier: Apache-2.0
#include "engine/stdio_uri.h"

#include <fmt/core.h>

#include <map>
#include <utility>

#include "engine/log_source.h"
#include "formats/json.h"
#include "logs/options.h"
#include "wire/url.h"

namespace gantry::engine {

using formats::Json;

std::string StdioUri::Format() const {
  std::string out = "gantry://" + wire::PercentEncodePath(socket) + "?stdin=" + stdin_mode;
  if (!log.empty()) {
    out += "&driver=json-file&log=" + wire::PercentEncode(log);
    out += fmt::format("&max-size={}&max-file={}", log_max_size, log_max_file);
    // A shim of an earlier version refuses keys that it does not know.
    if (log_compress) out += "&compress=1";
    if (!log_attributes.empty()) out += "&attrs=" + wire::PercentEncode(log_attributes);
  }
  return out + "&version=1";
}

Result<StdioUri> MakeStdioUri(const ContainerRecord& record, std::string socket, std::string log) {
  StdioUri uri;
  uri.socket = std::move(socket);
  if (record.config.open_stdin) uri.stdin_mode = record.config.stdin_once ? "once" : "open";
  const LogConfig& options = record.host.log_config;
  TRY(logs::CheckOptions(options.type, options.config));
  if (options.type == "none") return uri;
  logs::FileLimits limits = logs::LimitsOf(options.type, options.config);
  uri.log = std::move(log);
  uri.log_max_size = limits.max_size;
  uri.log_max_file = limits.max_files;
  uri.log_compress = limits.compress;
  std::map<std::string, std::string> attributes = TRY(LogAttributesOf(record));
  if (!attributes.empty()) {
    Json json = Json::MakeObject();
    for (const auto& [name, value] : attributes) json.Set(name, value);
    uri.log_attributes = json.Dump();
  }
  return uri;
}

}  // namespace gantry::engine
