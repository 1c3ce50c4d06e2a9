// SPDX-License-Identifier: Apache-2.0
#include "containerd/call_metrics.h"

#include <fmt/core.h>
#include <grpcpp/support/server_interceptor.h>

#include "base/clock.h"
#include "base/log.h"

namespace gantry::containerd {
namespace {

namespace interception = grpc::experimental;

const char* CallType(interception::ServerRpcInfo::Type type) {
  switch (type) {
    case interception::ServerRpcInfo::Type::UNARY:
      return "unary";
    case interception::ServerRpcInfo::Type::CLIENT_STREAMING:
      return "client_stream";
    case interception::ServerRpcInfo::Type::SERVER_STREAMING:
      return "server_stream";
    case interception::ServerRpcInfo::Type::BIDI_STREAMING:
      return "bidi_stream";
  }
  return "";
}

// gRPC's codes as Go writes them, which is what the metrics' readers expect.
constexpr const char* kCodeNames[] = {
    "OK",       "Canceled",       "Unknown",          "InvalidArgument",   "DeadlineExceeded",
    "NotFound", "AlreadyExists",  "PermissionDenied", "ResourceExhausted", "FailedPrecondition",
    "Aborted",  "OutOfRange",     "Unimplemented",    "Internal",          "Unavailable",
    "DataLoss", "Unauthenticated"};

}  // namespace

// One call. It is handled when its status is sent, or was cut off when it goes without one.
class CallCounter : public interception::Interceptor {
 public:
  CallCounter(CallMetrics* metrics, const interception::ServerRpcInfo* info)
      : metrics_(metrics), method_(info->method()) {
    metrics_->Started(method_, CallType(info->type()));
  }
  ~CallCounter() override {
    if (!handled_) Handled(grpc::StatusCode::CANCELLED);
  }
  void Intercept(interception::InterceptorBatchMethods* batch) override {
    if (batch->QueryInterceptionHookPoint(interception::InterceptionHookPoints::PRE_SEND_STATUS)) {
      handled_ = true;
      Handled(batch->GetSendStatus().error_code());
    }
    batch->Proceed();
  }

 private:
  void Handled(int code) {
    metrics_->Handled(method_, code);
    auto taken = std::chrono::duration_cast<std::chrono::microseconds>(SteadyClock::now() - begin_);
    log::Debug("{}: code {} after {} µs", method_, code, taken.count());
  }

  CallMetrics* metrics_;
  const SteadyClock::time_point begin_ = SteadyClock::now();
  const std::string method_;
  bool handled_ = false;
};

namespace {

class CounterFactory : public interception::ServerInterceptorFactoryInterface {
 public:
  explicit CounterFactory(CallMetrics* metrics) : metrics_(metrics) {}
  interception::Interceptor* CreateServerInterceptor(interception::ServerRpcInfo* info) override {
    return new CallCounter(metrics_, info);
  }

 private:
  CallMetrics* metrics_;
};

}  // namespace

std::unique_ptr<interception::ServerInterceptorFactoryInterface> CallMetrics::MakeInterceptors() {
  return std::make_unique<CounterFactory>(this);
}

void CallMetrics::Started(const std::string& method, const char* type) {
  MutexLock lock(mutex_);
  Method& counted = methods_[method];
  counted.type = type;
  ++counted.started;
}

void CallMetrics::Handled(const std::string& method, int code) {
  MutexLock lock(mutex_);
  bool known = code >= 0 && static_cast<size_t>(code) < kCodes;
  size_t index = static_cast<size_t>(known ? code : grpc::StatusCode::UNKNOWN);
  ++methods_[method].handled[index];
}

void CallMetrics::Write(std::string* out) const {
  MutexLock lock(mutex_);
  auto labels = [](const std::string& method, const Method& counted) {
    size_t slash = method.rfind('/');
    return fmt::format("grpc_method=\"{}\",grpc_service=\"{}\",grpc_type=\"{}\"",
                       method.substr(slash + 1), method.substr(1, slash > 0 ? slash - 1 : 0),
                       counted.type);
  };
  *out += "# TYPE grpc_server_started_total counter\n";
  for (const auto& [method, counted] : methods_) {
    *out += fmt::format("grpc_server_started_total{{{}}} {}\n", labels(method, counted),
                        counted.started);
  }
  *out += "# TYPE grpc_server_handled_total counter\n";
  for (const auto& [method, counted] : methods_) {
    for (size_t code = 0; code < kCodes; ++code) {
      if (counted.handled[code] == 0) continue;
      *out += fmt::format("grpc_server_handled_total{{grpc_code=\"{}\",{}}} {}\n", kCodeNames[code],
                          labels(method, counted), counted.handled[code]);
    }
  }
}

}  // namespace gantry::containerd
