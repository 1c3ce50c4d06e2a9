// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantry/endpoint.h"

#include "cmd/gantry/ssh_tunnel.h"
#include "cmd/gantry/tls_tunnel.h"

namespace gantry::cli {
namespace {

Error BadHost(std::string_view host) {
  return InvalidArgument("unable to resolve docker endpoint: invalid bind address format: {}",
                         host);
}

// "host:port/path" with what may be missing filled in: localhost, and 2375, or 2376 with TLS.
std::string CompleteAddress(std::string_view rest, bool tls) {
  size_t slash = rest.find('/');
  std::string address(rest.substr(0, slash));
  std::string path(slash == std::string_view::npos ? "" : rest.substr(slash));
  size_t bracket = address.rfind(']');
  size_t colon = address.rfind(':');
  bool has_port = colon != std::string::npos && (bracket == std::string::npos || colon > bracket);
  std::string port = has_port ? address.substr(colon + 1) : "";
  if (has_port) address.resize(colon);
  if (address.empty()) address = "localhost";
  if (port.empty()) port = tls ? "2376" : "2375";
  return address + ":" + port + path;
}

}  // namespace

Result<DaemonEndpoint> ParseEndpoint(std::string_view host, TlsSettings tls) {
  if (host.empty()) host = kDefaultHost;
  DaemonEndpoint result;
  size_t scheme_end = host.find("://");
  std::string_view scheme =
      scheme_end == std::string_view::npos ? "tcp" : host.substr(0, scheme_end);
  std::string_view rest = scheme_end == std::string_view::npos ? host : host.substr(scheme_end + 3);
  if (scheme == "npipe") return InvalidArgument("protocol not available");
  if (scheme == "unix") {
    result.url = rest.empty() ? std::string(kDefaultHost) : std::string(host);
    result.endpoint = TRY(wire::Endpoint::Parse(result.url));
    return result;
  }
  if (scheme == "ssh") {
    result.kind = DaemonEndpoint::Kind::kSsh;
    result.url = host;
    TRY(ParseSshTarget(result.url));
    return result;
  }
  if (scheme != "tcp" && scheme != "http" && scheme != "https") return BadHost(host);
  if (scheme == "https") tls.enabled = true;
  result.kind = tls.enabled ? DaemonEndpoint::Kind::kTls : DaemonEndpoint::Kind::kSocket;
  result.url = "tcp://" + CompleteAddress(rest, tls.enabled);
  result.endpoint = TRY(wire::Endpoint::Parse(result.url));
  result.tls = std::move(tls);
  return result;
}

Result<wire::HttpConnection> DaemonEndpoint::Connect() const {
  switch (kind) {
    case Kind::kSocket:
      return wire::HttpConnection::Connect(endpoint);
    case Kind::kTls:
      return ConnectTls(endpoint, tls);
    case Kind::kSsh:
      return ConnectSsh(url);
  }
  return Internal("an endpoint of no kind");
}

}  // namespace gantry::cli
