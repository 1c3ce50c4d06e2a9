// SPDX-License-Identifier: Apache-2.0
//
// Counts gRPC calls by method and result, under the names that containerd's users have in their
// dashboards (grpc_server_started_total, grpc_server_handled_total). Any thread.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "base/mutex.h"

namespace grpc::experimental {
class ServerInterceptorFactoryInterface;
}

namespace gantry::containerd {

class CallMetrics {
 public:
  // For the server's builder; the metrics outlive the server.
  std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> MakeInterceptors();

  // In Prometheus' text format.
  void Write(std::string* out) const;

 private:
  friend class CallCounter;
  static constexpr size_t kCodes = 17;
  struct Method {
    std::string type;  // "unary", "client_stream", "server_stream", "bidi_stream"
    uint64_t started = 0;
    std::array<uint64_t, kCodes> handled{};
  };
  void Started(const std::string& method, const char* type);
  void Handled(const std::string& method, int code);

  mutable Mutex mutex_;
  std::map<std::string, Method> methods_ GUARDED_BY(mutex_);  // "/package.Service/Method"
};

}  // namespace gantry::containerd
