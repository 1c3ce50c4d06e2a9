// SPDX-License-Identifier: Apache-2.0
//
// Running CNI plugins: programs that get a JSON document on standard input and the rest in their
// environment, and answer on standard output (SPEC.md, "Execution Protocol"). One that takes longer
// than a minute is ended, and so is one whose caller ends. Any thread.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "networks/cni_config.h"

namespace gantry::networks {

struct CniAttachment {
  CniConfig config;
  std::vector<std::string> path;  // directories of plugins
  std::string container_id;
  std::string netns;  // "": it is gone, for DEL alone
  std::string interface;
  std::vector<std::string> arguments;  // "IP=10.1.2.3", …
  formats::Json runtime;
};

// The result of the last plugin. After an error the caller tells all of them DEL.
Result<formats::Json> CniAdd(const CniAttachment& attachment);
// Whether it is as `result` says; of configurations since 0.4.0 that don't forbid it.
Result<> CniCheck(const CniAttachment& attachment, const formats::Json& result);
// In reverse order, with or without a result of ADD; what is gone already is no error.
Result<> CniDelete(const CniAttachment& attachment, const formats::Json& result);

// Attachments that a network has; its plugins forget all others. Of configurations since 1.1.0.
struct CniKnown {
  std::string container_id;
  std::string interface;
};
Result<> CniCollect(const CniConfig& config, const std::vector<std::string>& path,
                    const std::vector<CniKnown>& known);

// Every plugin of the configuration is in one of the directories.
Result<> CheckCniPlugins(const CniConfig& config, const std::vector<std::string>& path);

}  // namespace gantry::networks
