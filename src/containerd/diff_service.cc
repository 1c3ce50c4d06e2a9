// SPDX-License-Identifier: Apache-2.0
#include "base/stop_token.h"
#include "containerd/image_records.h"
#include "containerd/parts.h"
#include "containerd/records.h"
#include "containerd/rpc.h"
#include "containerd/services/diff/v1/diff.grpc.pb.h"
#include "images/apply_layer.h"
#include "oci/image_spec.h"
#include "records/database.h"

namespace gantry::containerd {
namespace {

namespace api = ::containerd::services::diff::v1;

class DiffService : public api::Diff::CallbackService {
 public:
  explicit DiffService(Parts* parts) : parts_(parts) {}

 private:
  // Extracts a layer straight into the directories that the mounts name: nothing is mounted.
  grpc::ServerUnaryReactor* Apply(Context* context, const api::ApplyRequest* request,
                                  api::ApplyResponse* response) override {
    return AnswerCallerOn(*parts_->workers, context,
                          [this, request, response](const Caller& caller) -> Result<> {
                            auto diff = TRY(ToDescriptor(request->diff()));
                            {
                              auto tx = TRY(parts_->database->Read());
                              TRY(GetContent(tx, caller.ns, diff.digest.text()));
                            }
                            std::vector<snapshots::Mount> mounts;
                            for (const auto& mount : request->mounts()) {
                              mounts.push_back({mount.type(),
                                                mount.source(),
                                                mount.target(),
                                                {mount.options().begin(), mount.options().end()}});
                            }
                            auto target = TRY(images::TargetOfMounts(mounts));
                            FdSource blob(TRY(parts_->blobs->OpenBlob(diff.digest)));
                            auto applied = TRY_WITH(images::ApplyLayer(target, blob, StopToken()),
                                                    "applying layer {}", diff.digest.text());
                            auto* descriptor = response->mutable_applied();
                            descriptor->set_media_type(std::string(oci::kOciLayer));
                            descriptor->set_digest(applied.diff_id.text());
                            descriptor->set_size(static_cast<int64_t>(applied.size));
                            return {};
                          });
  }

  grpc::ServerUnaryReactor* Diff(Context* context, const api::DiffRequest*,
                                 api::DiffResponse*) override {
    return Answer(context, []() -> Result<> {
      return Unimplemented("making a layer of the difference of two snapshots is not supported");
    });
  }

  Parts* parts_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeDiffService(Parts* parts) {
  return std::make_unique<DiffService>(parts);
}

}  // namespace gantry::containerd
