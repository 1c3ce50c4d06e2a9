// SPDX-License-Identifier: Apache-2.0
#include "containerd/filters.h"
#include "containerd/names.h"
#include "containerd/parts.h"
#include "containerd/records.h"
#include "containerd/rpc.h"
#include "containerd/services/sandbox/v1/sandbox.grpc.pb.h"
#include "records/database.h"

namespace gantry::containerd {
namespace {

namespace sandbox_api = ::containerd::services::sandbox::v1;
using SandboxRecord = ::containerd::types::Sandbox;

std::optional<std::string> SandboxField(const SandboxRecord& sandbox, const FieldPath& path) {
  if (path[0] == "id") return FieldOf(sandbox.sandbox_id());
  if (path[0] == "labels") return LabelOf(path, 1, sandbox.labels());
  return std::nullopt;
}

Result<> CheckSandbox(const SandboxRecord& sandbox) {
  TRY_WITH(CheckIdentifier(sandbox.sandbox_id()), "invalid sandbox ID");
  TRY_WITH(CheckLabels(ToLabels(sandbox.labels())), "sandbox");
  for (const auto& [key, value] : sandbox.extensions()) {
    if (key.empty()) return InvalidArgument("sandbox extension keys must not be zero-length");
  }
  return {};
}

// containerd's rules: without fields everything that may change is taken, and the runtime's name
// must be as it was.
Result<> MergeSandbox(const sandbox_api::StoreUpdateRequest& request, SandboxRecord* sandbox) {
  const SandboxRecord& wanted = request.sandbox();
  std::vector<std::string> fields(request.fields().begin(), request.fields().end());
  if (fields.empty()) {
    fields = {"labels", "extensions", "spec", "runtime"};
    if (wanted.runtime().name() != sandbox->runtime().name()) {
      return InvalidArgument("sandbox.Runtime.Name field is immutable");
    }
  }
  for (const std::string& field : fields) {
    if (field.starts_with("labels.")) {
      std::string key = field.substr(7);
      auto found = wanted.labels().find(key);
      (*sandbox->mutable_labels())[key] = found == wanted.labels().end() ? "" : found->second;
    } else if (field.starts_with("extensions.")) {
      std::string key = field.substr(11);
      auto found = wanted.extensions().find(key);
      if (found == wanted.extensions().end()) {
        sandbox->mutable_extensions()->erase(key);
      } else {
        (*sandbox->mutable_extensions())[key] = found->second;
      }
    } else if (field == "labels") {
      *sandbox->mutable_labels() = wanted.labels();
    } else if (field == "extensions") {
      *sandbox->mutable_extensions() = wanted.extensions();
    } else if (field == "runtime") {
      *sandbox->mutable_runtime() = wanted.runtime();
    } else if (field == "spec") {
      *sandbox->mutable_spec() = wanted.spec();
    } else {
      return InvalidArgument("cannot update \"{}\" field on sandbox \"{}\"", field,
                             sandbox->sandbox_id());
    }
  }
  return {};
}

// The records alone; what runs is the controller's.
class SandboxStoreService : public sandbox_api::Store::CallbackService {
 public:
  explicit SandboxStoreService(Parts* parts) : parts_(parts) {}

 private:
  grpc::ServerUnaryReactor* Create(Context* context, const sandbox_api::StoreCreateRequest* request,
                                   sandbox_api::StoreCreateResponse* response) override {
    return AnswerCaller(context, [&](const Caller& caller) -> Result<> {
      SandboxRecord sandbox = request->sandbox();
      TRY_WITH(CheckSandbox(sandbox), "failed to validate sandbox");
      *sandbox.mutable_created_at() = ToProto(Now());
      *sandbox.mutable_updated_at() = sandbox.created_at();
      std::string bytes = sandbox.SerializeAsString();
      auto tx = TRY(parts_->database->Begin());
      TRY(EnsureNamespace(tx, caller.ns));
      TRY_WITH(tx.Execute("INSERT INTO sandboxes VALUES(?, ?, ?)", caller.ns, sandbox.sandbox_id(),
                          Blob{bytes}),
               "sandbox \"{}\"", sandbox.sandbox_id());
      TRY(tx.Commit());
      *response->mutable_sandbox() = std::move(sandbox);
      return {};
    });
  }

  grpc::ServerUnaryReactor* Update(Context* context, const sandbox_api::StoreUpdateRequest* request,
                                   sandbox_api::StoreUpdateResponse* response) override {
    return AnswerCaller(context, [&](const Caller& caller) -> Result<> {
      auto tx = TRY(parts_->database->Begin());
      auto sandbox = TRY(GetSandbox(tx, caller.ns, request->sandbox().sandbox_id()));
      TRY(MergeSandbox(*request, &sandbox));
      TRY_WITH(CheckSandbox(sandbox), "failed to validate sandbox");
      *sandbox.mutable_updated_at() = ToProto(Now());
      std::string bytes = sandbox.SerializeAsString();
      TRY(tx.Execute("UPDATE sandboxes SET record = ? WHERE ns = ? AND id = ?", Blob{bytes},
                     caller.ns, sandbox.sandbox_id()));
      TRY(tx.Commit());
      *response->mutable_sandbox() = std::move(sandbox);
      return {};
    });
  }

  grpc::ServerUnaryReactor* Delete(Context* context, const sandbox_api::StoreDeleteRequest* request,
                                   sandbox_api::StoreDeleteResponse*) override {
    return AnswerCaller(context, [&](const Caller& caller) -> Result<> {
      auto tx = TRY(parts_->database->Begin());
      int changed = TRY(tx.Execute("DELETE FROM sandboxes WHERE ns = ? AND id = ?", caller.ns,
                                   request->sandbox_id()));
      if (changed == 0) return NotFound("sandbox \"{}\": not found", request->sandbox_id());
      return tx.Commit();
    });
  }

  grpc::ServerUnaryReactor* List(Context* context, const sandbox_api::StoreListRequest* request,
                                 sandbox_api::StoreListResponse* response) override {
    return AnswerCaller(context, [&](const Caller& caller) -> Result<> {
      Filters filters = TRY(Filters::ParseAll(request->filters()));
      auto tx = TRY(parts_->database->Read());
      auto rows = TRY(tx.Query("SELECT record FROM sandboxes WHERE ns = ? ORDER BY id", caller.ns));
      while (TRY(rows.Next())) {
        SandboxRecord sandbox;
        std::string_view bytes = rows.Bytes(0);
        if (!sandbox.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
          return MakeError(ErrorKind::kDataLoss, "listing sandboxes: a record is damaged");
        }
        auto lookup = [&](const FieldPath& path) { return SandboxField(sandbox, path); };
        if (filters.Matches(lookup)) *response->add_list() = std::move(sandbox);
      }
      return {};
    });
  }

  grpc::ServerUnaryReactor* Get(Context* context, const sandbox_api::StoreGetRequest* request,
                                sandbox_api::StoreGetResponse* response) override {
    return AnswerCaller(context, [&](const Caller& caller) -> Result<> {
      auto tx = TRY(parts_->database->Read());
      *response->mutable_sandbox() = TRY(GetSandbox(tx, caller.ns, request->sandbox_id()));
      return {};
    });
  }

  Parts* parts_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeSandboxStoreService(Parts* parts) {
  return std::make_unique<SandboxStoreService>(parts);
}

}  // namespace gantry::containerd
