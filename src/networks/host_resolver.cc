// SPDX-License-Identifier: Apache-2.0
#include "networks/host_resolver.h"

#include "base/io.h"

namespace gantry::networks {
namespace {

constexpr size_t kMaxFile = size_t{1} << 20;
constexpr const char* kResolver = "127.0.0.11";  // in every container: it would ask itself
constexpr const char* kStub = "127.0.0.53";      // systemd-resolved(8)

Result<formats::ResolvConf> ReadConf(const char* path) {
  auto text = ReadFile(path, kMaxFile);
  if (!text.ok() && text.error().kind() == ErrorKind::kNotFound) return formats::ResolvConf{};
  return formats::ParseResolvConf(TRY(std::move(text)));
}

}  // namespace

Result<formats::ResolvConf> ReadHostResolvConf() {
  formats::ResolvConf conf = TRY(ReadConf("/etc/resolv.conf"));
  if (conf.servers != std::vector<std::string>{kStub}) return conf;
  formats::ResolvConf behind = TRY(ReadConf("/run/systemd/resolve/resolv.conf"));
  return behind.servers.empty() ? conf : behind;
}

std::vector<formats::ProxyServer> ServersFor(const std::vector<std::string>& dns,
                                             const formats::ResolvConf& host) {
  std::vector<formats::ProxyServer> servers;
  for (const std::string& address : dns) {
    if (address != kResolver) servers.push_back({address, false});
  }
  if (!dns.empty()) return servers;
  for (const std::string& address : host.servers) {
    // A scoped address ("fe80::1%eth0") means nothing elsewhere.
    if (address.find('%') != std::string::npos) continue;
    servers.push_back({address, formats::IsLoopbackServer(address)});
  }
  if (servers.empty()) servers = {{"8.8.8.8", false}, {"8.8.4.4", false}};
  return servers;
}

}  // namespace gantry::networks
