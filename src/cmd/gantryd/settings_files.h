// SPDX-License-Identifier: Apache-2.0
//
// What the configuration says to other programs by files: registries' hosts.toml for the container
// daemon, and a script for a runtime that has arguments of its own (a shim takes a program only).
// Written at start and at each reload; the old directory of hosts stays until the next one, since a
// pull may be reading it. One thread.
#pragma once

#include <string>

#include "base/error.h"
#include "engine/settings.h"

namespace gantry::gantryd {

// RUN/registry-hosts-N: mirrors and insecure registries, beside what `base` (certs.d) has for other
// registries. Sets settings->registry_hosts_directory; "" when nothing is configured.
Result<> WriteRegistryHosts(const std::string& run_directory, const std::string& base,
                            engine::Settings* settings);

// ROOT/engine/runtimes/NAME for each runtime with arguments; its path becomes the script's.
Result<> WriteRuntimeScripts(const std::string& root, engine::Settings* settings);

}  // namespace gantry::gantryd
