// SPDX-License-Identifier: Apache-2.0
#include "containerd/event_exchange.h"
#include "containerd/events/namespace.pb.h"
#include "containerd/names.h"
#include "containerd/parts.h"
#include "containerd/records.h"
#include "containerd/rpc.h"
#include "containerd/services/namespaces/v1/namespace.grpc.pb.h"
#include "records/database.h"

namespace gantry::containerd {
namespace {

namespace namespaces_api = ::containerd::services::namespaces::v1;

Result<Labels> ReadNamespace(Transaction& tx, const std::string& name) {
  auto rows = TRY(tx.Query("SELECT labels FROM namespaces WHERE name = ?", name));
  if (!TRY(rows.Next())) return NotFound("namespace \"{}\": not found", name);
  return DecodeLabels(rows.Bytes(0));
}

// What is still in a namespace, in containerd's words; empty when nothing is.
Result<std::string> Contents(Transaction& tx, const std::string& name) {
  std::string found;
  auto add = [&](std::string_view what, Rows rows) -> Result<> {
    if (!TRY(rows.Next())) return {};
    if (!found.empty()) found += ", ";
    found += what;
    return {};
  };
  TRY(add("images", TRY(tx.Query("SELECT 1 FROM images WHERE ns = ? LIMIT 1", name))));
  TRY(add("blobs", TRY(tx.Query("SELECT 1 FROM content WHERE ns = ? LIMIT 1", name))));
  TRY(add("containers", TRY(tx.Query("SELECT 1 FROM containers WHERE ns = ? LIMIT 1", name))));
  auto stores = TRY(tx.Query("SELECT DISTINCT snapshotter FROM snapshots WHERE ns = ?", name));
  while (TRY(stores.Next())) {
    if (!found.empty()) found += ", ";
    found += fmt::format("snapshots on \"{}\" snapshotter", stores.Text(0));
  }
  TRY(add("sandboxes", TRY(tx.Query("SELECT 1 FROM sandboxes WHERE ns = ? LIMIT 1", name))));
  TRY(add("mounts", TRY(tx.Query("SELECT 1 FROM mounts WHERE ns = ? LIMIT 1", name))));
  return found;
}

// Namespaces are above namespaces: no call here needs the header.
class NamespacesService : public namespaces_api::Namespaces::CallbackService {
 public:
  explicit NamespacesService(Parts* parts) : parts_(parts) {}

 private:
  grpc::ServerUnaryReactor* Get(Context* context,
                                const namespaces_api::GetNamespaceRequest* request,
                                namespaces_api::GetNamespaceResponse* response) override {
    return Answer(context, [&]() -> Result<> {
      auto tx = TRY(parts_->database->Read());
      auto labels = ReadNamespace(tx, request->name());
      // One that is not there yet has no labels, as with containerd: dockerd asks before it makes
      // anything in its namespace.
      if (!labels.ok()) {
        if (labels.error().kind() != ErrorKind::kNotFound) return std::move(labels).error();
        labels = Labels();
      }
      response->mutable_namespace_()->set_name(request->name());
      SetLabels(*labels, response->mutable_namespace_()->mutable_labels());
      return {};
    });
  }

  grpc::ServerUnaryReactor* List(Context* context, const namespaces_api::ListNamespacesRequest*,
                                 namespaces_api::ListNamespacesResponse* response) override {
    return Answer(context, [&]() -> Result<> {
      auto tx = TRY(parts_->database->Read());
      auto rows = TRY(tx.Query("SELECT name, labels FROM namespaces ORDER BY name"));
      while (TRY(rows.Next())) {
        auto* entry = response->add_namespaces();
        entry->set_name(rows.Text(0));
        SetLabels(TRY(DecodeLabels(rows.Bytes(1))), entry->mutable_labels());
      }
      return {};
    });
  }

  grpc::ServerUnaryReactor* Create(Context* context,
                                   const namespaces_api::CreateNamespaceRequest* request,
                                   namespaces_api::CreateNamespaceResponse* response) override {
    return Answer(context, [&]() -> Result<> {
      const std::string& name = request->namespace_().name();
      Labels labels = ToLabels(request->namespace_().labels());
      TRY(CheckIdentifier(name));
      TRY(CheckLabels(labels));
      auto tx = TRY(parts_->database->Begin());
      TRY_WITH(tx.Execute("INSERT INTO namespaces VALUES(?, ?)", name, EncodeLabels(labels)),
               "namespace \"{}\"", name);
      TRY(tx.Commit());
      *response->mutable_namespace_() = request->namespace_();
      ::containerd::events::NamespaceCreate event;
      event.set_name(name);
      SetLabels(labels, event.mutable_labels());
      parts_->events->Publish(name, "/namespaces/create", event);
      return {};
    });
  }

  grpc::ServerUnaryReactor* Update(Context* context,
                                   const namespaces_api::UpdateNamespaceRequest* request,
                                   namespaces_api::UpdateNamespaceResponse* response) override {
    return Answer(context, [&]() -> Result<> {
      const auto& wanted = request->namespace_();
      TRY(CheckIdentifier(wanted.name()));
      auto tx = TRY(parts_->database->Begin());
      TRY(EnsureNamespace(tx, wanted.name()));
      Labels labels = TRY(ReadNamespace(tx, wanted.name()));
      TRY(Merge(*request, &labels));
      TRY(CheckLabels(labels));
      TRY(tx.Execute("UPDATE namespaces SET labels = ? WHERE name = ?", EncodeLabels(labels),
                     wanted.name()));
      TRY(tx.Commit());
      response->mutable_namespace_()->set_name(wanted.name());
      SetLabels(labels, response->mutable_namespace_()->mutable_labels());
      ::containerd::events::NamespaceUpdate event;
      event.set_name(wanted.name());
      // containerd tells what was asked for.
      *event.mutable_labels() = wanted.labels();
      parts_->events->Publish(wanted.name(), "/namespaces/update", event);
      return {};
    });
  }

  static Result<> Merge(const namespaces_api::UpdateNamespaceRequest& request, Labels* labels) {
    Labels wanted = ToLabels(request.namespace_().labels());
    auto set = [&](const std::string& key) {
      auto found = wanted.find(key);
      if (found == wanted.end() || found->second.empty()) {
        labels->erase(key);
      } else {
        (*labels)[key] = found->second;
      }
    };
    if (request.update_mask().paths().empty()) {
      *labels = std::move(wanted);
      std::erase_if(*labels, [](const auto& label) { return label.second.empty(); });
      return {};
    }
    for (const std::string& path : request.update_mask().paths()) {
      // As containerd: here "labels" alone is no path.
      if (!path.starts_with("labels.")) return InvalidArgument("cannot update \"{}\" field", path);
      set(path.substr(7));
    }
    return {};
  }

  grpc::ServerUnaryReactor* Delete(Context* context,
                                   const namespaces_api::DeleteNamespaceRequest* request,
                                   google::protobuf::Empty*) override {
    return Answer(context, [&]() -> Result<> {
      const std::string& name = request->name();
      auto tx = TRY(parts_->database->Begin());
      TRY(ReadNamespace(tx, name));
      std::string contents = TRY(Contents(tx, name));
      if (!contents.empty()) {
        return FailedPrecondition("namespace \"{}\" must be empty, but it still has {}", name,
                                  contents);
      }
      TRY(tx.Execute("DELETE FROM namespaces WHERE name = ?", name));
      TRY(tx.Execute("DELETE FROM leases WHERE ns = ?", name));
      TRY(tx.Execute("DELETE FROM lease_resources WHERE ns = ?", name));
      TRY(tx.Commit());
      ::containerd::events::NamespaceDelete event;
      event.set_name(name);
      parts_->events->Publish(name, "/namespaces/delete", event);
      return {};
    });
  }

  Parts* parts_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeNamespacesService(Parts* parts) {
  return std::make_unique<NamespacesService>(parts);
}

}  // namespace gantry::containerd
