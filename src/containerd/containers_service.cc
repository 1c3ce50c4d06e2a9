// SPDX-License-Identifier: Apache-2.0
#include "containerd/collector.h"
#include "containerd/event_exchange.h"
#include "containerd/events/container.pb.h"
#include "containerd/filters.h"
#include "containerd/names.h"
#include "containerd/parts.h"
#include "containerd/records.h"
#include "containerd/rpc.h"
#include "containerd/services/containers/v1/containers.grpc.pb.h"
#include "records/database.h"

namespace gantry::containerd {
namespace {

std::optional<std::string> Field(const containers_api::Container& container,
                                 const FieldPath& path) {
  if (path[0] == "id") return FieldOf(container.id());
  if (path[0] == "image") return FieldOf(container.image());
  if (path[0] == "labels") return LabelOf(path, 1, container.labels());
  if (path[0] == "runtime" && path.size() > 1 && path[1] == "name") {
    return FieldOf(container.runtime().name());
  }
  return std::nullopt;
}

Result<> Check(const containers_api::Container& container) {
  TRY_WITH(CheckIdentifier(container.id()), "container.ID");
  TRY_WITH(CheckLabels(ToLabels(container.labels())), "container");
  for (const auto& [key, value] : container.extensions()) {
    if (key.empty()) return InvalidArgument("container.Extension keys must not be zero-length");
  }
  if (container.runtime().name().empty()) {
    return InvalidArgument("container.Runtime.Name must be set");
  }
  if (!container.has_spec()) return InvalidArgument("container.Spec must be set");
  if (!container.snapshot_key().empty() && container.snapshotter().empty()) {
    return InvalidArgument("container.Snapshotter must be set if container.SnapshotKey is set");
  }
  return {};
}

// containerd's rules of a field mask: without one only the fields that may change are taken, and
// the others must be as they were.
Result<> Merge(const containers_api::UpdateContainerRequest& request,
               containers_api::Container* container) {
  const containers_api::Container& wanted = request.container();
  std::vector<std::string> paths(request.update_mask().paths().begin(),
                                 request.update_mask().paths().end());
  if (paths.empty()) {
    paths = {"labels", "spec", "extensions", "image", "snapshotkey"};
    if (wanted.snapshotter() != container->snapshotter()) {
      return InvalidArgument("container.Snapshotter field is immutable");
    }
    if (wanted.runtime().name() != container->runtime().name()) {
      return InvalidArgument("container.Runtime.Name field is immutable");
    }
  }
  for (const std::string& path : paths) {
    if (path.starts_with("labels.")) {
      std::string key = path.substr(7);
      auto found = wanted.labels().find(key);
      (*container->mutable_labels())[key] = found == wanted.labels().end() ? "" : found->second;
    } else if (path.starts_with("extensions.")) {
      std::string key = path.substr(11);
      auto found = wanted.extensions().find(key);
      if (found == wanted.extensions().end()) {
        container->mutable_extensions()->erase(key);
      } else {
        (*container->mutable_extensions())[key] = found->second;
      }
    } else if (path == "labels") {
      *container->mutable_labels() = wanted.labels();
    } else if (path == "spec") {
      *container->mutable_spec() = wanted.spec();
    } else if (path == "extensions") {
      *container->mutable_extensions() = wanted.extensions();
    } else if (path == "image") {
      container->set_image(wanted.image());
    } else if (path == "snapshotkey") {
      container->set_snapshot_key(wanted.snapshot_key());
    } else {
      return InvalidArgument("cannot update \"{}\" field on \"{}\"", path, container->id());
    }
  }
  return {};
}

class ContainersService : public containers_api::Containers::CallbackService {
 public:
  explicit ContainersService(Parts* parts) : parts_(parts) {}

 private:
  grpc::ServerUnaryReactor* Get(Context* context,
                                const containers_api::GetContainerRequest* request,
                                containers_api::GetContainerResponse* response) override {
    return AnswerCaller(context, [&](const Caller& caller) -> Result<> {
      auto tx = TRY(parts_->database->Read());
      *response->mutable_container() = TRY(GetContainer(tx, caller.ns, request->id()));
      return {};
    });
  }

  // Calls visit(containers_api::Container&&) for each that the filters match.
  template <typename Visit>
  Result<> Each(const std::string& ns, const containers_api::ListContainersRequest& request,
                Visit visit) {
    Filters filters = TRY(Filters::ParseAll(request.filters()));
    auto tx = TRY(parts_->database->Read());
    auto rows = TRY(tx.Query("SELECT record FROM containers WHERE ns = ? ORDER BY id", ns));
    while (TRY(rows.Next())) {
      containers_api::Container container;
      std::string_view bytes = rows.Bytes(0);
      if (!container.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
        return MakeError(ErrorKind::kDataLoss, "listing containers: a record is damaged");
      }
      auto lookup = [&](const FieldPath& path) { return Field(container, path); };
      if (filters.Matches(lookup)) visit(std::move(container));
    }
    return {};
  }

  grpc::ServerUnaryReactor* List(Context* context,
                                 const containers_api::ListContainersRequest* request,
                                 containers_api::ListContainersResponse* response) override {
    return AnswerCaller(context, [&](const Caller& caller) -> Result<> {
      return Each(caller.ns, *request, [&](containers_api::Container container) {
        *response->add_containers() = std::move(container);
      });
    });
  }

  grpc::ServerWriteReactor<containers_api::ListContainerMessage>* ListStream(
      Context* context, const containers_api::ListContainersRequest* request) override {
    using Message = containers_api::ListContainerMessage;
    return AnswerList<Message>(context, [&](const Caller& caller) -> Result<std::vector<Message>> {
      std::vector<Message> messages;
      TRY(Each(caller.ns, *request, [&](containers_api::Container container) {
        *messages.emplace_back().mutable_container() = std::move(container);
      }));
      return messages;
    });
  }

  grpc::ServerUnaryReactor* Create(Context* context,
                                   const containers_api::CreateContainerRequest* request,
                                   containers_api::CreateContainerResponse* response) override {
    return AnswerCaller(context, [&](const Caller& caller) -> Result<> {
      containers_api::Container container = request->container();
      TRY_WITH(Check(container), "create container failed validation");
      DropEmptyLabels(container.mutable_labels());
      *container.mutable_created_at() = ToProto(Now());
      *container.mutable_updated_at() = container.created_at();
      std::string bytes = container.SerializeAsString();
      {
        auto guard = parts_->collector->Hold();
        auto tx = TRY(parts_->database->Begin());
        TRY(EnsureNamespace(tx, caller.ns));
        TRY_WITH(
            tx.Execute("INSERT INTO containers VALUES(?, ?, ?, ?, ?)", caller.ns, container.id(),
                       container.snapshotter(), container.snapshot_key(), Blob{bytes}),
            "container \"{}\"", container.id());
        TRY(tx.Commit());
      }
      ::containerd::events::ContainerCreate event;
      event.set_id(container.id());
      event.set_image(container.image());
      event.mutable_runtime()->set_name(container.runtime().name());
      *event.mutable_runtime()->mutable_options() = container.runtime().options();
      parts_->events->Publish(caller.ns, "/containers/create", event);
      *response->mutable_container() = std::move(container);
      return {};
    });
  }

  grpc::ServerUnaryReactor* Update(Context* context,
                                   const containers_api::UpdateContainerRequest* request,
                                   containers_api::UpdateContainerResponse* response) override {
    return AnswerCaller(context, [&](const Caller& caller) -> Result<> {
      if (request->container().id().empty()) {
        return InvalidArgument("must specify a container id");
      }
      auto guard = parts_->collector->Hold();
      auto tx = TRY(parts_->database->Begin());
      auto container = TRY(GetContainer(tx, caller.ns, request->container().id()));
      TRY(Merge(*request, &container));
      TRY_WITH(Check(container), "update failed validation");
      DropEmptyLabels(container.mutable_labels());
      *container.mutable_updated_at() = ToProto(Now());
      std::string bytes = container.SerializeAsString();
      TRY(tx.Execute("UPDATE containers SET snapshot_key = ?, record = ? WHERE ns = ? AND id = ?",
                     container.snapshot_key(), Blob{bytes}, caller.ns, container.id()));
      TRY(tx.Commit());
      ::containerd::events::ContainerUpdate event;
      event.set_id(container.id());
      event.set_image(container.image());
      event.set_snapshot_key(container.snapshot_key());
      SetLabels(ToLabels(container.labels()), event.mutable_labels());
      parts_->events->Publish(caller.ns, "/containers/update", event);
      *response->mutable_container() = std::move(container);
      return {};
    });
  }

  grpc::ServerUnaryReactor* Delete(Context* context,
                                   const containers_api::DeleteContainerRequest* request,
                                   google::protobuf::Empty*) override {
    return AnswerCaller(context, [&](const Caller& caller) -> Result<> {
      auto tx = TRY(parts_->database->Begin());
      int changed = TRY(
          tx.Execute("DELETE FROM containers WHERE ns = ? AND id = ?", caller.ns, request->id()));
      if (changed == 0) return NoContainer(caller.ns, request->id());
      TRY(tx.Commit());
      parts_->collector->Schedule();
      ::containerd::events::ContainerDelete event;
      event.set_id(request->id());
      parts_->events->Publish(caller.ns, "/containers/delete", event);
      return {};
    });
  }

  Parts* parts_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeContainersService(Parts* parts) {
  return std::make_unique<ContainersService>(parts);
}

}  // namespace gantry::containerd
