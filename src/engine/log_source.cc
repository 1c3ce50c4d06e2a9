// SPDX-License-Identifier: Apache-2.0
#include "engine/log_source.h"

#include <map>

#include "logs/attributes.h"
#include "wire/url.h"

namespace gantry::engine {
namespace {

// As Go's url.QueryEscape: a space is a plus sign.
std::string QueryEscape(std::string_view text) {
  std::string out = wire::PercentEncode(text);
  for (size_t at = 0; (at = out.find("%20", at)) != std::string::npos;) out.replace(at, 3, "+");
  return out;
}

}  // namespace

logs::LogSource LogSourceOf(const ContainerRecord& record) {
  logs::LogSource source;
  source.id = record.id;
  source.name = record.name;
  source.image_id = record.image_id;
  source.image_name = record.config.image;
  for (const std::string& word : record.config.entrypoint.words) {
    source.command += (source.command.empty() ? "" : " ") + word;
  }
  for (const std::string& word : record.config.cmd.words) {
    source.command += (source.command.empty() ? "" : " ") + word;
  }
  source.created = record.created;
  source.labels = record.config.labels;
  source.env = record.config.env;
  source.driver = record.host.log_config.type;
  source.options = record.host.log_config.config;
  return source;
}

Result<std::map<std::string, std::string>> LogAttributesOf(const ContainerRecord& record) {
  logs::LogSource source = LogSourceOf(record);
  if (source.driver != "json-file") return std::map<std::string, std::string>();
  std::map<std::string, std::string> chosen = TRY(logs::ChooseAttributes(source));
  if (!source.Option("tag").empty()) chosen["tag"] = TRY(logs::RenderTag(source));
  return chosen;
}

Result<std::string> LogDetailsOf(const ContainerRecord& record) {
  std::string out;
  std::map<std::string, std::string> attributes = TRY(LogAttributesOf(record));
  for (const auto& [name, value] : attributes) {
    out += (out.empty() ? "" : ",") + QueryEscape(name) + "=" + QueryEscape(value);
  }
  return out + " ";
}

}  // namespace gantry::engine
