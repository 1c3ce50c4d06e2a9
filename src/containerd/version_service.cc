// SPDX-License-Identifier: Apache-2.0
#include "containerd/parts.h"
#include "containerd/rpc.h"
#include "containerd/services/version/v1/version.grpc.pb.h"

namespace gantry::containerd {
namespace {

namespace version_api = ::containerd::services::version::v1;

class VersionService : public version_api::Version::CallbackService {
  grpc::ServerUnaryReactor* Version(Context* context, const google::protobuf::Empty*,
                                    version_api::VersionResponse* response) override {
    return Answer(context, [&]() -> Result<> {
      response->set_version(GANTRY_VERSION);
      response->set_revision("gantry");
      return {};
    });
  }
};

}  // namespace

std::unique_ptr<grpc::Service> MakeVersionService() { return std::make_unique<VersionService>(); }

}  // namespace gantry::containerd
