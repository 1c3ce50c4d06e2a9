// SPDX-License-Identifier: Apache-2.0
#include "engine/api/hijack.h"

namespace gantry::engine::api {

std::string_view StreamMediaType(const Call& call, bool terminal) {
  if (terminal || call.minor < 42) return "application/vnd.docker.raw-stream";
  return "application/vnd.docker.multiplexed-stream";
}

Result<wire::Exchange::Raw> TakeConnection(Call& call, bool terminal) {
  wire::HttpHeaders& headers = call.exchange.headers();
  headers.Set("Content-Type", StreamMediaType(call, terminal));
  // As docker: the one header alone says it, whatever "Connection" does.
  if (call.exchange.request().headers.Get("Upgrade").empty()) return call.exchange.Hijack(200);
  headers.Set("Connection", "Upgrade");
  headers.Set("Upgrade", "tcp");
  return call.exchange.Hijack(101);
}

}  // namespace gantry::engine::api
