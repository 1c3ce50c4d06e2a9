// SPDX-License-Identifier: Apache-2.0
#include "containerd/mount_store.h"
#include "containerd/parts.h"
#include "containerd/rpc.h"
#include "containerd/services/mounts/v1/mounts.grpc.pb.h"

namespace gantry::containerd {
namespace {

namespace mounts_api = ::containerd::services::mounts::v1;

class MountsService : public mounts_api::Mounts::CallbackService {
 public:
  explicit MountsService(Parts* parts) : parts_(parts) {}

 private:
  grpc::ServerUnaryReactor* Activate(Context* context, const mounts_api::ActivateRequest* request,
                                     mounts_api::ActivateResponse* response) override {
    return AnswerCallerOn(
        *parts_->workers, context, [this, request, response](const Caller& caller) -> Result<> {
          *response->mutable_info() = TRY(parts_->mounts->Activate(
              caller, {.name = request->name(),
                       .mounts = {request->mounts().begin(), request->mounts().end()},
                       .labels = ToLabels(request->labels()),
                       .temporary = request->temporary()}));
          return {};
        });
  }

  grpc::ServerUnaryReactor* Deactivate(Context* context,
                                       const mounts_api::DeactivateRequest* request,
                                       google::protobuf::Empty*) override {
    return AnswerCallerOn(*parts_->workers, context,
                          [this, request](const Caller& caller) -> Result<> {
                            return parts_->mounts->Deactivate(caller.ns, request->name());
                          });
  }

  grpc::ServerUnaryReactor* Info(Context* context, const mounts_api::InfoRequest* request,
                                 mounts_api::InfoResponse* response) override {
    return AnswerCaller(context, [&](const Caller& caller) -> Result<> {
      *response->mutable_info() = TRY(parts_->mounts->Info(caller.ns, request->name()));
      return {};
    });
  }

  // Only labels can change: the mounts are made.
  grpc::ServerUnaryReactor* Update(Context* context, const mounts_api::UpdateRequest* request,
                                   mounts_api::UpdateResponse* response) override {
    return AnswerCallerOn(
        *parts_->workers, context, [this, request, response](const Caller& caller) -> Result<> {
          Labels wanted = ToLabels(request->info().labels());
          auto change = [&](Labels* labels) -> Result<> {
            if (request->update_mask().paths().empty()) *labels = wanted;
            for (const std::string& path : request->update_mask().paths()) {
              if (path == "labels") {
                *labels = wanted;
              } else if (path.starts_with("labels.")) {
                std::string key = path.substr(7);
                (*labels)[key] = wanted[key];
              } else {
                return InvalidArgument("cannot update \"{}\" field on mount \"{}\"", path,
                                       request->info().name());
              }
            }
            return {};
          };
          *response->mutable_info() =
              TRY(parts_->mounts->SetLabels(caller.ns, request->info().name(), change));
          return {};
        });
  }

  grpc::ServerWriteReactor<mounts_api::ListMessage>* List(
      Context* context, const mounts_api::ListRequest* request) override {
    using Message = mounts_api::ListMessage;
    return AnswerList<Message>(context, [&](const Caller& caller) -> Result<std::vector<Message>> {
      Filters filters = TRY(Filters::ParseAll(request->filters()));
      std::vector<Message> messages;
      for (ActivationInfo& info : TRY(parts_->mounts->List(caller.ns, filters))) {
        *messages.emplace_back().mutable_info() = std::move(info);
      }
      return messages;
    });
  }

  Parts* parts_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeMountsService(Parts* parts) {
  return std::make_unique<MountsService>(parts);
}

}  // namespace gantry::containerd
