// SPDX-License-Identifier: Apache-2.0
#include "containerd/parts.h"
#include "containerd/rpc.h"
#include "grpc/health/v1/health.grpc.pb.h"

namespace gantry::containerd {
namespace {

namespace health_api = ::grpc::health::v1;

// Whoever answers serves: every service here comes and goes with the process.
class HealthService : public health_api::Health::CallbackService {
  // The daemon is asked for as a whole, by the empty name.
  grpc::ServerUnaryReactor* Check(Context* context, const health_api::HealthCheckRequest* request,
                                  health_api::HealthCheckResponse* response) override {
    return Answer(context, [&]() -> Result<> {
      if (!request->service().empty()) return NotFound("unknown service '{}'", request->service());
      response->set_status(health_api::HealthCheckResponse::SERVING);
      return {};
    });
  }

  grpc::ServerWriteReactor<health_api::HealthCheckResponse>* Watch(
      Context*, const health_api::HealthCheckRequest* request) override {
    return new Watcher(request->service().empty()
                           ? health_api::HealthCheckResponse::SERVING
                           : health_api::HealthCheckResponse::SERVICE_UNKNOWN);
  }

  // One answer, since it never changes, and then silence until the client goes.
  class Watcher : public grpc::ServerWriteReactor<health_api::HealthCheckResponse> {
   public:
    explicit Watcher(health_api::HealthCheckResponse::ServingStatus status) {
      response_.set_status(status);
      StartWrite(&response_);
    }
    void OnCancel() override {
      Finish(grpc::Status(grpc::StatusCode::CANCELLED, "client is gone"));
    }
    void OnDone() override { delete this; }

   private:
    health_api::HealthCheckResponse response_;
  };
};

}  // namespace

std::unique_ptr<grpc::Service> MakeHealthService() { return std::make_unique<HealthService>(); }

}  // namespace gantry::containerd
