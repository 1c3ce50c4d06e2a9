// SPDX-License-Identifier: Apache-2.0
#include "containerd/parts.h"
#include "containerd/rpc.h"
#include "grpc/health/v1/health.grpc.pb.h"

namespace gantry::containerd {
namespace {

namespace health_api = ::grpc::health::v1;

// Whoever answers serves: every service here comes and goes with the process.
class HealthService : public health_api::Health::CallbackService {
  grpc::ServerUnaryReactor* Check(Context* context, const health_api::HealthCheckRequest*,
                                  health_api::HealthCheckResponse* response) override {
    return Answer(context, [&]() -> Result<> {
      response->set_status(health_api::HealthCheckResponse::SERVING);
      return {};
    });
  }

  grpc::ServerWriteReactor<health_api::HealthCheckResponse>* Watch(
      Context*, const health_api::HealthCheckRequest*) override {
    return new Watcher();
  }

  // One answer, since it never changes, and then silence until the client goes.
  class Watcher : public grpc::ServerWriteReactor<health_api::HealthCheckResponse> {
   public:
    Watcher() {
      response_.set_status(health_api::HealthCheckResponse::SERVING);
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
