// SPDX-License-Identifier: Apache-2.0
//
// "container:NAME", as the modes of network, PID and IPC namespaces name another container. Pure.
#pragma once

#include <string>
#include <string_view>

namespace gantry::engine {

inline constexpr std::string_view kContainerMode = "container:";
// Of an IPC namespace that others may join.
inline constexpr std::string_view kShareable = "shareable";

inline bool IsContainerMode(std::string_view mode) { return mode.starts_with(kContainerMode); }
// The name or id; "" for other modes and for none given.
inline std::string ContainerOfMode(std::string_view mode) {
  return IsContainerMode(mode) ? std::string(mode.substr(kContainerMode.size())) : "";
}

}  // namespace gantry::engine
