// SPDX-License-Identifier: Apache-2.0
//
// The values of `gantry build`'s flags that BuildKit has, as docker's users write them: exporters,
// secrets, ssh agents, caches. Pure apart from the files and variables that a value names.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "build_client/result_receiver.h"
#include "cmd/gantry/build_flags.h"
#include "moby/buildkit/control.plain.h"

namespace gantry::cli {

struct BuildOutputs {
  std::vector<plain::moby::buildkit::v1::Exporter> exporters;
  std::map<int, build_client::ResultTarget> targets;  // by the exporter's number
};
// --output, --load, --push and the tags. Without any an image of the store.
Result<BuildOutputs> ParseBuildOutputs(const BuildFlags& flags);

using SecretReader = std::function<Result<std::string>()>;
// "id=NAME,src=FILE", "id=NAME,env=VARIABLE": the name, and what reads it. A file that can't be
// read is an error at once.
Result<std::pair<std::string, SecretReader>> ParseBuildSecret(const std::string& text);
// "default", "NAME=SOCKET": the name and the socket.
Result<std::pair<std::string, std::string>> ParseBuildAgent(const std::string& text);
// "type=registry,ref=NAME", or an image's name alone.
Result<plain::moby::buildkit::v1::CacheOptionsEntry> ParseBuildCache(const std::string& text);

}  // namespace gantry::cli
