// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantry/proxies.h"

#include <algorithm>
#include <cctype>

namespace gantry::cli {

using formats::Json;

void AddProxies(const Json& config, const std::string& host, Json* body) {
  const Json* proxies = config["proxies"].Find(host);
  if (proxies == nullptr) proxies = config["proxies"].Find("default");
  if (proxies == nullptr) return;
  Json& env = body->MutableMember("Env");
  auto is_set = [&](const std::string& name) {
    return std::any_of(env.items().begin(), env.items().end(), [&](const Json& item) {
      const std::string& pair = item.AsString();
      return pair.substr(0, pair.find('=')) == name;
    });
  };
  for (auto [key, name] :
       {std::pair("httpProxy", "HTTP_PROXY"), std::pair("httpsProxy", "HTTPS_PROXY"),
        std::pair("noProxy", "NO_PROXY"), std::pair("ftpProxy", "FTP_PROXY"),
        std::pair("allProxy", "ALL_PROXY")}) {
    const std::string& value = (*proxies)[key].AsString();
    if (value.empty()) continue;
    std::string lower = name;
    for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    // Programs read the one or the other.
    for (const std::string& variable : {std::string(name), lower}) {
      if (!is_set(variable)) env.Append(variable + "=" + value);
    }
  }
}

}  // namespace gantry::cli
