// SPDX-License-Identifier: Apache-2.0
//
// docker's rules for merging an image's configuration into a request.
#include <algorithm>
#include <set>
#include <string_view>

#include "engine/config.h"
#include "engine/health.h"

namespace gantry::engine {
namespace {

std::string_view NameOfVariable(std::string_view variable) {
  return variable.substr(0, variable.find('='));
}

// The request's variables come first; those of the image that it sets again are left out.
void MergeVariables(const std::vector<std::string>& from, std::vector<std::string>* into) {
  std::set<std::string> asked;
  for (const std::string& variable : *into) asked.emplace(NameOfVariable(variable));
  for (const std::string& variable : from) {
    if (!asked.contains(std::string(NameOfVariable(variable)))) into->push_back(variable);
  }
}

// An entry point of the request makes the image's command meaningless; an empty list takes the
// image's entry point away.
void MergeCommand(const ContainerConfig& from, ContainerConfig* config) {
  if (!config->entrypoint.words.empty()) return;
  if (config->cmd.words.empty()) config->cmd = from.cmd;
  if (!config->entrypoint.set) config->entrypoint = from.entrypoint;
}

}  // namespace

Result<> MergeImageConfig(const formats::Json& image, ContainerConfig* config) {
  if (image.is_null()) return {};
  ContainerConfig from = TRY_WITH(ParseContainerConfig(image), "reading the image's configuration");
  if (config->user.empty()) config->user = from.user;
  config->exposed_ports.names.insert(from.exposed_ports.names.begin(),
                                     from.exposed_ports.names.end());
  config->volumes.names.insert(from.volumes.names.begin(), from.volumes.names.end());
  MergeVariables(from.env, &config->env);
  for (const auto& [key, value] : from.labels) config->labels.try_emplace(key, value);
  MergeCommand(from, config);
  MergeHealthcheck(from.healthcheck, &config->healthcheck);
  if (config->working_dir.empty()) config->working_dir = from.working_dir;
  if (config->stop_signal.empty()) config->stop_signal = from.stop_signal;
  if (config->shell.empty()) config->shell = from.shell;
  return {};
}

}  // namespace gantry::engine
