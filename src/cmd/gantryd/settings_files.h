// SPDX-License-Identifier: Apache-2.0
//
// What the configuration says to other programs by files: registries' hosts.toml for the container
// daemon, and a script for a runtime that has arguments of its own (a shim takes a program only).
// Written at start and at each reload; the old directory of hosts stays until the next one, since a
// pull may be reading it. One thread.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "base/error.h"
#include "engine/settings.h"

namespace gantry::gantryd {

// RUN/registry-hosts-N: mirrors and insecure registries, beside what the first of `bases` (certs.d)
// that has something for another registry says; a mirror's certificates come from there too. One
// directory, since a foreign container daemon takes no list; of our own the caller names `bases`
// again behind it. Sets
// settings->registry_hosts_directory; "" when nothing is configured.
Result<> WriteRegistryHosts(const std::string& run_directory,
                            std::span<const std::string_view> bases, engine::Settings* settings);

// ROOT/engine/runtimes/NAME for each runtime with arguments; its path becomes the script's.
Result<> WriteRuntimeScripts(const std::string& root, engine::Settings* settings);

}  // namespace gantry::gantryd
