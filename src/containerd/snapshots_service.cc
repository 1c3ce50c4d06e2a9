// SPDX-License-Identifier: Apache-2.0
#include "containerd/collector.h"
#include "containerd/event_exchange.h"
#include "containerd/events/snapshot.pb.h"
#include "containerd/filters.h"
#include "containerd/names.h"
#include "containerd/parts.h"
#include "containerd/records.h"
#include "containerd/rpc.h"
#include "containerd/services/snapshots/v1/snapshots.grpc.pb.h"
#include "records/database.h"

namespace gantry::containerd {
namespace {

namespace snapshots_api = ::containerd::services::snapshots::v1;

snapshots_api::Kind KindToProto(snapshots::Kind kind) {
  switch (kind) {
    case snapshots::Kind::kView:
      return snapshots_api::VIEW;
    case snapshots::Kind::kActive:
      return snapshots_api::ACTIVE;
    case snapshots::Kind::kCommitted:
      return snapshots_api::COMMITTED;
  }
  return snapshots_api::UNKNOWN;
}

std::string_view FilterKind(snapshots::Kind kind) {
  switch (kind) {
    case snapshots::Kind::kView:
      return "view";
    case snapshots::Kind::kActive:
      return "active";
    case snapshots::Kind::kCommitted:
      return "committed";
  }
  return "";
}

void Fill(const snapshots::Record& record, snapshots_api::Info* info) {
  info->set_name(record.key);
  info->set_parent(record.parent);
  info->set_kind(KindToProto(record.kind));
  *info->mutable_created_at() = ToProto(record.created_at);
  *info->mutable_updated_at() = ToProto(record.updated_at);
  SetLabels(record.labels, info->mutable_labels());
}

template <typename Response>
void FillMounts(const std::vector<snapshots::Mount>& mounts, Response* response) {
  for (const auto& mount : mounts) {
    auto* to = response->add_mounts();
    to->set_type(mount.type);
    to->set_source(mount.source);
    to->set_target(mount.target);
    for (const auto& option : mount.options) to->add_options(option);
  }
}

std::optional<std::string> Field(const snapshots::Record& record, const FieldPath& path) {
  if (path[0] == "name") return record.key;
  if (path[0] == "parent") return record.parent;
  if (path[0] == "kind") return std::string(FilterKind(record.kind));
  if (path[0] == "labels") return LabelOf(path, 1, record.labels);
  return std::nullopt;
}

class SnapshotsService : public snapshots_api::Snapshots::CallbackService {
 public:
  explicit SnapshotsService(Parts* parts) : parts_(parts) {}

 private:
  // The lease first: garbage collection never sees a new snapshot without it.
  Result<> Lease(const Caller& caller, const std::string& snapshotter, const std::string& key) {
    if (caller.lease.empty()) return {};
    auto tx = TRY(parts_->database->Begin());
    TRY(AddToLease(tx, caller.ns, caller.lease, "snapshots/" + snapshotter, key));
    return tx.Commit();
  }

  grpc::ServerUnaryReactor* Prepare(Context* context,
                                    const snapshots_api::PrepareSnapshotRequest* request,
                                    snapshots_api::PrepareSnapshotResponse* response) override {
    return AnswerCallerOn(
        *parts_->workers, context, [this, request, response](const Caller& caller) -> Result<> {
          auto* snapshotter = TRY(FindSnapshotter(*parts_, request->snapshotter()));
          auto guard = parts_->collector->Hold();
          TRY(Lease(caller, std::string(snapshotter->name()), request->key()));
          FillMounts(TRY(snapshotter->Prepare(caller.ns, request->key(), request->parent(),
                                              ToLabels(request->labels()))),
                     response);
          ::containerd::events::SnapshotPrepare event;
          event.set_key(request->key());
          event.set_parent(request->parent());
          event.set_snapshotter(std::string(snapshotter->name()));
          parts_->events->Publish(caller.ns, "/snapshot/prepare", event);
          return {};
        });
  }

  grpc::ServerUnaryReactor* View(Context* context,
                                 const snapshots_api::ViewSnapshotRequest* request,
                                 snapshots_api::ViewSnapshotResponse* response) override {
    return AnswerCallerOn(
        *parts_->workers, context, [this, request, response](const Caller& caller) -> Result<> {
          auto* snapshotter = TRY(FindSnapshotter(*parts_, request->snapshotter()));
          auto guard = parts_->collector->Hold();
          TRY(Lease(caller, std::string(snapshotter->name()), request->key()));
          FillMounts(TRY(snapshotter->View(caller.ns, request->key(), request->parent(),
                                           ToLabels(request->labels()))),
                     response);
          return {};
        });
  }

  grpc::ServerUnaryReactor* Mounts(Context* context, const snapshots_api::MountsRequest* request,
                                   snapshots_api::MountsResponse* response) override {
    // Another process may have to be asked.
    return AnswerCallerOn(
        *parts_->workers, context, [this, request, response](const Caller& caller) -> Result<> {
          auto* snapshotter = TRY(FindSnapshotter(*parts_, request->snapshotter()));
          FillMounts(TRY(snapshotter->Mounts(caller.ns, request->key())), response);
          return {};
        });
  }

  // Clients that unpack layers side by side name the parent last.
  static Result<> Rebase(snapshots::Snapshotter& snapshotter, const Caller& caller,
                         const snapshots_api::CommitSnapshotRequest& request) {
    if (request.parent().empty()) return {};
    auto record = TRY(snapshotter.Stat(caller.ns, request.key()));
    if (record.parent == request.parent()) return {};
    TRY(snapshotter.Rebase(caller.ns, request.key(), request.parent()));
    return {};
  }

  grpc::ServerUnaryReactor* Commit(Context* context,
                                   const snapshots_api::CommitSnapshotRequest* request,
                                   google::protobuf::Empty*) override {
    return AnswerCallerOn(
        *parts_->workers, context, [this, request](const Caller& caller) -> Result<> {
          auto* snapshotter = TRY(FindSnapshotter(*parts_, request->snapshotter()));
          auto guard = parts_->collector->Hold();
          TRY(Lease(caller, std::string(snapshotter->name()), request->name()));
          TRY(Rebase(*snapshotter, caller, *request));
          TRY(snapshotter->Commit(caller.ns, request->name(), request->key(),
                                  ToLabels(request->labels())));
          ::containerd::events::SnapshotCommit event;
          event.set_key(request->key());
          event.set_name(request->name());
          event.set_snapshotter(std::string(snapshotter->name()));
          parts_->events->Publish(caller.ns, "/snapshot/commit", event);
          return {};
        });
  }

  grpc::ServerUnaryReactor* Remove(Context* context,
                                   const snapshots_api::RemoveSnapshotRequest* request,
                                   google::protobuf::Empty*) override {
    return AnswerCallerOn(
        *parts_->workers, context, [this, request](const Caller& caller) -> Result<> {
          auto* snapshotter = TRY(FindSnapshotter(*parts_, request->snapshotter()));
          TRY(snapshotter->Remove(caller.ns, request->key()));
          parts_->collector->Schedule();
          ::containerd::events::SnapshotRemove event;
          event.set_key(request->key());
          event.set_snapshotter(std::string(snapshotter->name()));
          parts_->events->Publish(caller.ns, "/snapshot/remove", event);
          return {};
        });
  }

  grpc::ServerUnaryReactor* Stat(Context* context,
                                 const snapshots_api::StatSnapshotRequest* request,
                                 snapshots_api::StatSnapshotResponse* response) override {
    return AnswerCaller(context, [&](const Caller& caller) -> Result<> {
      auto* snapshotter = TRY(FindSnapshotter(*parts_, request->snapshotter()));
      Fill(TRY(snapshotter->Stat(caller.ns, request->key())), response->mutable_info());
      return {};
    });
  }

  grpc::ServerUnaryReactor* Update(Context* context,
                                   const snapshots_api::UpdateSnapshotRequest* request,
                                   snapshots_api::UpdateSnapshotResponse* response) override {
    return AnswerCaller(context, [&](const Caller& caller) -> Result<> {
      auto* snapshotter = TRY(FindSnapshotter(*parts_, request->snapshotter()));
      auto record = TRY(snapshotter->Stat(caller.ns, request->info().name()));
      Labels wanted = ToLabels(request->info().labels());
      if (request->update_mask().paths().empty()) record.labels = wanted;
      for (const std::string& path : request->update_mask().paths()) {
        if (path == "labels") {
          record.labels = wanted;
        } else if (path.starts_with("labels.")) {
          std::string key = path.substr(7);
          record.labels[key] = wanted[key];
        } else {
          return InvalidArgument("cannot update \"{}\" field on snapshot \"{}\"", path,
                                 request->info().name());
        }
      }
      std::erase_if(record.labels, [](const auto& label) { return label.second.empty(); });
      Fill(TRY(snapshotter->records().SetLabels(caller.ns, record.key, record.labels)),
           response->mutable_info());
      return {};
    });
  }

  grpc::ServerWriteReactor<snapshots_api::ListSnapshotsResponse>* List(
      Context* context, const snapshots_api::ListSnapshotsRequest* request) override {
    using Message = snapshots_api::ListSnapshotsResponse;
    constexpr int kPerMessage = 100;
    return AnswerList<Message>(context, [&](const Caller& caller) -> Result<std::vector<Message>> {
      auto* snapshotter = TRY(FindSnapshotter(*parts_, request->snapshotter()));
      Filters filters = TRY(Filters::ParseAll(request->filters()));
      std::vector<Message> messages;
      for (const auto& record : TRY(snapshotter->records().List(caller.ns))) {
        auto lookup = [&](const FieldPath& path) { return Field(record, path); };
        if (!filters.Matches(lookup)) continue;
        if (messages.empty() || messages.back().info_size() == kPerMessage) {
          messages.emplace_back();
        }
        Fill(record, messages.back().add_info());
      }
      return messages;
    });
  }

  grpc::ServerUnaryReactor* Usage(Context* context, const snapshots_api::UsageRequest* request,
                                  snapshots_api::UsageResponse* response) override {
    return AnswerCallerOn(
        *parts_->workers, context, [this, request, response](const Caller& caller) -> Result<> {
          auto* snapshotter = TRY(FindSnapshotter(*parts_, request->snapshotter()));
          auto usage = TRY(snapshotter->GetUsage(caller.ns, request->key()));
          response->set_size(static_cast<int64_t>(usage.bytes));
          response->set_inodes(static_cast<int64_t>(usage.inodes));
          return {};
        });
  }

  // What is removed is gone at once, and the trash empties itself.
  grpc::ServerUnaryReactor* Cleanup(Context* context, const snapshots_api::CleanupRequest* request,
                                    google::protobuf::Empty*) override {
    return AnswerCaller(context, [&](const Caller&) -> Result<> {
      TRY(FindSnapshotter(*parts_, request->snapshotter()));
      return {};
    });
  }

  Parts* parts_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeSnapshotsService(Parts* parts) {
  return std::make_unique<SnapshotsService>(parts);
}

}  // namespace gantry::containerd
