// SPDX-License-Identifier: Apache-2.0
//
// The host's name servers, and which of them a container asks. Any thread.
#pragma once

#include <vector>

#include "base/error.h"
#include "formats/proxy_message.h"
#include "formats/resolv_conf.h"

namespace gantry::networks {

// /etc/resolv.conf; where that names systemd-resolved alone, the servers behind it. No file is an
// empty one.
Result<formats::ResolvConf> ReadHostResolvConf();

// Those of `--dns`, else the host's, else docker's (8.8.8.8, 8.8.4.4).
std::vector<formats::ProxyServer> ServersFor(const std::vector<std::string>& dns,
                                             const formats::ResolvConf& host);

}  // namespace gantry::networks
