// SPDX-License-Identifier: Apache-2.0
//
// Programs that extend the engine, found and asked as docker does (docs/plugins.md): a socket
// NAME.sock in /run/docker/plugins, or NAME.spec or NAME.json in /etc/docker/plugins or
// /usr/lib/docker/plugins that says where it is; JSON over HTTP, with TLS at https://. Each call
// has a bound; a plugin that did not answer is not asked again for a while. Any thread.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/mutex.h"
#include "networks/plugins.h"
#include "registry/http_transfer.h"

namespace gantry::engine {

// Where a plugin is, and how one proves who it is and who asks.
struct PluginPlace {
  std::string url;  // unix://PATH, tcp://HOST:PORT, http://… or https://…
  bool verify = true;
  std::string authority;  // PEM files; "": the system's alone
  std::string certificate;
  std::string key;
};

class HttpPlugins : public networks::Plugins {
 public:
  Result<formats::Json> Call(const std::string& plugin, std::string_view kind,
                             std::string_view method, const formats::Json& request) override;

 private:
  // POST /METHOD.
  Result<formats::Json> Ask(const std::string& plugin, const PluginPlace& place,
                            const std::string& method, const formats::Json& request);
  Result<> CheckKind(const std::string& plugin, const PluginPlace& place, std::string_view kind);

  registry::HttpTransfer tls_;

  Mutex mutex_;
  // What it said to be (Plugin.Activate), by plugin.
  std::map<std::string, std::vector<std::string>> kinds_ GUARDED_BY(mutex_);
  std::map<std::string, SteadyClock::time_point> silent_until_ GUARDED_BY(mutex_);
};

}  // namespace gantry::engine
