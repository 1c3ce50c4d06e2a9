// SPDX-License-Identifier: Apache-2.0
#include "base/random.h"
#include "containerd/collector.h"
#include "containerd/filters.h"
#include "containerd/names.h"
#include "containerd/parts.h"
#include "containerd/records.h"
#include "containerd/rpc.h"
#include "containerd/services/leases/v1/leases.grpc.pb.h"
#include "records/database.h"

namespace gantry::containerd {
namespace {

namespace leases_api = ::containerd::services::leases::v1;

Result<> CheckResource(const leases_api::Resource& resource) {
  const std::string& type = resource.type();
  if (resource.id().empty()) return InvalidArgument("resource id must not be empty");
  if (type == "content" || type == "ingests" || type == "images") return {};
  if (type.starts_with("snapshots/") && type.size() > 10) return {};
  return Unimplemented("resource type {} not supported yet", type);
}

class LeasesService : public leases_api::Leases::CallbackService {
 public:
  explicit LeasesService(Parts* parts) : parts_(parts) {}

 private:
  grpc::ServerUnaryReactor* Create(Context* context, const leases_api::CreateRequest* request,
                                   leases_api::CreateResponse* response) override {
    return AnswerCaller(context, [&](const Caller& caller) -> Result<> {
      std::string id = request->id().empty() ? RandomHex(16) : request->id();
      Labels labels = ToLabels(request->labels());
      TRY(CheckLabels(labels));
      WallTime now = Now();
      auto tx = TRY(parts_->database->Begin());
      TRY(EnsureNamespace(tx, caller.ns));
      TRY_WITH(tx.Execute("INSERT INTO leases VALUES(?, ?, ?, ?)", caller.ns, id,
                          EncodeLabels(labels), UnixNanos(now)),
               "lease \"{}\"", id);
      TRY(tx.Commit());
      response->mutable_lease()->set_id(id);
      *response->mutable_lease()->mutable_created_at() = ToProto(now);
      SetLabels(labels, response->mutable_lease()->mutable_labels());
      return {};
    });
  }

  grpc::ServerUnaryReactor* Delete(Context* context, const leases_api::DeleteRequest* request,
                                   google::protobuf::Empty*) override {
    auto work = [this, request](const Caller& caller) -> Result<> {
      {
        auto tx = TRY(parts_->database->Begin());
        TRY(Find(tx, caller.ns, request->id()));
        TRY(tx.Execute("DELETE FROM leases WHERE ns = ? AND id = ?", caller.ns, request->id()));
        TRY(tx.Execute("DELETE FROM lease_resources WHERE ns = ? AND lease = ?", caller.ns,
                       request->id()));
        TRY(tx.Commit());
      }
      if (request->sync()) {
        TRY(parts_->collector->Collect());
      } else {
        parts_->collector->Schedule();
      }
      return {};
    };
    if (!request->sync()) return AnswerCaller(context, work);
    return AnswerCallerOn(*parts_->workers, context, work);
  }

  grpc::ServerUnaryReactor* List(Context* context, const leases_api::ListRequest* request,
                                 leases_api::ListResponse* response) override {
    return AnswerCaller(context, [&](const Caller& caller) -> Result<> {
      Filters filters = TRY(Filters::ParseAll(request->filters()));
      auto tx = TRY(parts_->database->Read());
      auto rows = TRY(tx.Query("SELECT id, labels, created_at FROM leases WHERE ns = ? ORDER BY id",
                               caller.ns));
      while (TRY(rows.Next())) {
        std::string id = rows.Text(0);
        Labels labels = TRY(DecodeLabels(rows.Bytes(1)));
        auto lookup = [&](const FieldPath& path) -> std::optional<std::string> {
          if (path[0] == "id") return id;
          if (path[0] == "labels") return LabelOf(path, 1, labels);
          return std::nullopt;
        };
        if (!filters.Matches(lookup)) continue;
        auto* lease = response->add_leases();
        lease->set_id(id);
        *lease->mutable_created_at() = ToProto(FromUnixNanos(rows.Int(2)));
        SetLabels(labels, lease->mutable_labels());
      }
      return {};
    });
  }

  grpc::ServerUnaryReactor* AddResource(Context* context,
                                        const leases_api::AddResourceRequest* request,
                                        google::protobuf::Empty*) override {
    return AnswerCaller(context, [&](const Caller& caller) -> Result<> {
      TRY(CheckResource(request->resource()));
      auto guard = parts_->collector->Hold();
      auto tx = TRY(parts_->database->Begin());
      TRY(Find(tx, caller.ns, request->id()));
      TRY(AddToLease(tx, caller.ns, request->id(), request->resource().type(),
                     request->resource().id()));
      return tx.Commit();
    });
  }

  grpc::ServerUnaryReactor* DeleteResource(Context* context,
                                           const leases_api::DeleteResourceRequest* request,
                                           google::protobuf::Empty*) override {
    return AnswerCaller(context, [&](const Caller& caller) -> Result<> {
      TRY(CheckResource(request->resource()));
      auto tx = TRY(parts_->database->Begin());
      TRY(Find(tx, caller.ns, request->id()));
      TRY(tx.Execute(
          "DELETE FROM lease_resources WHERE ns = ? AND lease = ? AND type = ? AND id = ?",
          caller.ns, request->id(), request->resource().type(), request->resource().id()));
      TRY(tx.Commit());
      parts_->collector->Schedule();
      return {};
    });
  }

  grpc::ServerUnaryReactor* ListResources(Context* context,
                                          const leases_api::ListResourcesRequest* request,
                                          leases_api::ListResourcesResponse* response) override {
    return AnswerCaller(context, [&](const Caller& caller) -> Result<> {
      auto tx = TRY(parts_->database->Read());
      TRY(Find(tx, caller.ns, request->id()));
      auto rows = TRY(tx.Query("SELECT type, id FROM lease_resources WHERE ns = ? AND lease = ?",
                               caller.ns, request->id()));
      while (TRY(rows.Next())) {
        auto* resource = response->add_resources();
        resource->set_type(rows.Text(0));
        resource->set_id(rows.Text(1));
      }
      return {};
    });
  }

  static Result<> Find(Transaction& tx, const std::string& ns, const std::string& id) {
    auto rows = TRY(tx.Query("SELECT 1 FROM leases WHERE ns = ? AND id = ?", ns, id));
    if (!TRY(rows.Next())) return NotFound("lease \"{}\": not found", id);
    return {};
  }

  Parts* parts_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeLeasesService(Parts* parts) {
  return std::make_unique<LeasesService>(parts);
}

}  // namespace gantry::containerd
