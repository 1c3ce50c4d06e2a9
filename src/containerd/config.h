// SPDX-License-Identifier: Apache-2.0
//
// The configuration file (docs/config.md): containerd's config.toml of version 2, 3 or 4, as far as
// it says something to this daemon, and a table [gantry] of our own. What is known but belongs to
// parts that are not here, and what is unknown, is named in a warning; a known key of a wrong type
// is an error.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "containerd/options.h"

namespace gantry::containerd {

inline constexpr const char* kRestartPlugin = "io.containerd.monitor.container.v1.restart";

inline constexpr int kConfigVersion = 4;
inline constexpr const char* kDefaultConfigPath = "/etc/gantry/containerd.toml";

// Puts what the file and its imports say over `options`; imports win over the file that names them.
// Warnings are one line each, for the log once it is set up.
Result<> LoadConfig(const std::string& path, Options* options, std::vector<std::string>* warnings);

// The options as a file of version 4 that LoadConfig reads back.
std::string DumpConfig(const Options& options);

// Refuses required plugins that are not here and disabled ones that cannot be spared.
Result<> CheckPlugins(const Options& options);

// Plugins of this daemon by their containerd URI ("io.containerd.grpc.v1.leases").
bool IsKnownPlugin(const std::string& uri);
bool IsDisabled(const Options& options, const std::string& uri);

}  // namespace gantry::containerd
