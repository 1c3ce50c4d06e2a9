// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantry/build_connection.h"

namespace gantry::cli {
namespace {

Result<build_client::Upgraded> Upgrade(Api* api, ApiRequest request) {
  request.method = "POST";
  request.upgrade = true;
  request.protocol = "h2c";
  Result<ApiStream> stream = api->Open(request);
  if (!stream.ok()) {
    ErrorKind kind = stream.error().kind();
    bool unknown = kind == ErrorKind::kNotFound || kind == ErrorKind::kUnimplemented;
    if (unknown) return Unimplemented("the engine has no BuildKit: {}", stream.error().message());
    return std::move(stream).error();
  }
  if (stream->head.status != 101) {
    return Unimplemented("the engine has no BuildKit: {} was answered with status {}", request.path,
                         stream->head.status);
  }
  wire::HttpConnection::Raw raw = std::move(stream->connection).Hijack();
  return build_client::Upgraded{std::move(raw.socket), std::move(raw.received)};
}

}  // namespace

Result<build_client::Upgraded> ConnectBuildKit(Api* api) {
  ApiRequest request;
  request.path = "/grpc";
  return Upgrade(api, std::move(request));
}

Result<build_client::Upgraded> ConnectBuildSession(Api* api, const SessionHead& head) {
  ApiRequest request;
  request.path = "/session";
  request.headers = {{"X-Docker-Expose-Session-Uuid", head.id},
                     {"X-Docker-Expose-Session-Name", head.name},
                     {"X-Docker-Expose-Session-Sharedkey", head.shared_key}};
  for (const std::string& method : head.methods) {
    request.headers.push_back({"X-Docker-Expose-Session-Grpc-Method", method});
  }
  return Upgrade(api, std::move(request));
}

}  // namespace gantry::cli
