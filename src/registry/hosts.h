// SPDX-License-Identifier: Apache-2.0
//
// Which servers stand for a registry: its own, and the mirrors that a hosts.toml names, as
// containerd reads them (docs/hosts.md):
//
//   DIR/HOST[_PORT_]/hosts.toml   or  DIR/HOST[:PORT]/hosts.toml  or  DIR/_default/hosts.toml
//
// A directory without hosts.toml may hold docker's files: *.crt are CAs, NAME.cert and NAME.key a
// client's pair. Reads files; any thread.
#pragma once

#include <chrono>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"

namespace gantry::registry {

struct RegistryHost {
  std::string name;  // "docker.io", "localhost:5000": what credentials are asked for
  std::string base;  // "https://localhost:5000/v2", without a slash at its end
  // No scheme was given, and plain HTTP is tried where there is no TLS.
  bool may_be_plain = false;
  // Credentials may be sent without TLS, also to a token server.
  bool insecure = false;
  bool mirror = false;  // it is told whom it stands for: ?ns=docker.io
  bool pull = true;
  bool resolve = true;
  bool push = true;
  bool verify_tls = true;
  std::vector<std::string> ca_files;
  std::string client_certificate;    // PEM files; empty: none
  std::string client_key;            // empty: in the certificate's file
  std::vector<std::string> headers;  // "Name: value"
  std::chrono::milliseconds connect_timeout{30'000};
};

// Where containerd's and docker's users put their files.
inline constexpr std::string_view kHostsDirectories[] = {"/etc/containerd/certs.d",
                                                         "/etc/docker/certs.d"};

struct HostsOptions {
  // "DIR[:DIR…]": the first one that has anything for the host counts. "", and those that are not
  // there: no configuration.
  std::string directory;
  std::set<std::string> insecure;  // "host:port": plain HTTP and unverified TLS
  std::string ca_file;             // beside the system's certificates
};

// The servers for `host` of a normalised reference, in the order to ask them; the registry itself
// is the last one. kInvalidArgument names the file, the line and what is wrong with it.
Result<std::vector<RegistryHost>> FindHosts(const HostsOptions& options, const std::string& host);

// "localhost", 127.0.0.0/8 and [::1], with any port: plain HTTP is tried there, as docker does.
bool IsLocalHost(std::string_view host);

}  // namespace gantry::registry
