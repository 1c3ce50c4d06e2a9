// SPDX-License-Identifier: Apache-2.0
//
// Making layers of images: differences between snapshots, layers unpacked into snapshots, and
// leases that hold all of it until an image names it.
#include <utility>

#include "client/containerd.h"
#include "client/stubs.h"
#include "containerd/services/diff/v1/diff.grpc.pb.h"
#include "containerd/services/leases/v1/leases.grpc.pb.h"

namespace gantry::client {

namespace diff = containerd::services::diff::v1;
namespace leases = containerd::services::leases::v1;
namespace snapshots = containerd::services::snapshots::v1;

namespace {

constexpr std::chrono::hours kLayerBound(2);
// Of a lease whose owner was killed.
constexpr std::chrono::hours kDayLife(24);
constexpr std::chrono::hours kWeekLife(24 * 7);

void AddMounts(const std::vector<Mount>& mounts,
               google::protobuf::RepeatedPtrField<containerd::types::Mount>* out) {
  for (const Mount& mount : mounts) {
    auto* added = out->Add();
    added->set_type(mount.type);
    added->set_source(mount.source);
    added->set_target(mount.target);
    for (const std::string& option : mount.options) added->add_options(option);
  }
}

Result<std::vector<std::string>> LeasesOf(const Containerd::Stubs& stubs,
                                          const leases::ListRequest& request) {
  leases::ListResponse response;
  auto stub = leases::Leases::NewStub(stubs.channel);
  TRY(Call(stubs, kQuick, stub.get(), &leases::Leases::Stub::List, request, &response));
  std::vector<std::string> ids;
  for (const auto& lease : response.leases()) ids.push_back(lease.id());
  return ids;
}

}  // namespace

Result<> Containerd::CreateLease(const std::string& id, LeaseLife life, const Labels& labels) {
  leases::CreateRequest request;
  request.set_id(id);
  for (const auto& [key, value] : labels) (*request.mutable_labels())[key] = value;
  if (life != LeaseLife::kUntilDeleted) {
    (*request.mutable_labels())["containerd.io/gc.expire"] =
        FormatRfc3339Nano(WallClock::now() + (life == LeaseLife::kDay ? kDayLife : kWeekLife));
  }
  leases::CreateResponse response;
  auto stub = leases::Leases::NewStub(stubs_->channel);
  return Call(*stubs_, kQuick, stub.get(), &leases::Leases::Stub::Create, request, &response);
}

Result<> Containerd::DeleteLease(const std::string& id, bool collect) {
  leases::DeleteRequest request;
  request.set_id(id);
  request.set_sync(collect);
  google::protobuf::Empty response;
  auto stub = leases::Leases::NewStub(stubs_->channel);
  Result<> deleted = Call(*stubs_, collect ? kSlow : kQuick, stub.get(),
                          &leases::Leases::Stub::Delete, request, &response);
  if (!deleted.ok() && deleted.error().kind() == ErrorKind::kNotFound) return {};
  return deleted;
}

Result<std::vector<std::string>> Containerd::ListLeases() { return LeasesOf(*stubs_, {}); }

Result<std::vector<std::string>> Containerd::FindLeases(const std::string& label,
                                                        const std::string& value) {
  leases::ListRequest request;
  request.add_filters(LabelFilter(label, value));
  return LeasesOf(*stubs_, request);
}

Result<> Containerd::AddToLease(const std::string& lease, const std::string& type,
                                const std::string& id) {
  leases::AddResourceRequest request;
  request.set_id(lease);
  request.mutable_resource()->set_type(type);
  request.mutable_resource()->set_id(id);
  google::protobuf::Empty response;
  auto stub = leases::Leases::NewStub(stubs_->channel);
  return Call(*stubs_, kQuick, stub.get(), &leases::Leases::Stub::AddResource, request, &response);
}

Result<Descriptor> Containerd::DiffMounts(const std::string& lease, const std::vector<Mount>& left,
                                          const std::vector<Mount>& right,
                                          const std::string& media_type,
                                          std::optional<int64_t> newest) {
  grpc::ClientContext context;
  stubs_->Prepare(&context, kLayerBound);
  context.AddMetadata("containerd-lease", lease);
  diff::DiffRequest request;
  AddMounts(left, request.mutable_left());
  AddMounts(right, request.mutable_right());
  request.set_media_type(media_type);
  request.set_ref(WriteOf(lease));
  if (newest) request.mutable_source_date_epoch()->set_seconds(*newest);
  diff::DiffResponse response;
  auto stub = diff::Diff::NewStub(stubs_->channel);
  TRY(ToResult(stub->Diff(&context, request, &response)));
  return Descriptor{response.diff().media_type(), response.diff().digest(), response.diff().size()};
}

Result<> Containerd::ApplyLayer(const std::string& lease, const Descriptor& layer,
                                const std::vector<Mount>& mounts) {
  grpc::ClientContext context;
  stubs_->Prepare(&context, kLayerBound);
  context.AddMetadata("containerd-lease", lease);
  diff::ApplyRequest request;
  request.mutable_diff()->set_media_type(layer.media_type);
  request.mutable_diff()->set_digest(layer.digest);
  request.mutable_diff()->set_size(layer.size);
  AddMounts(mounts, request.mutable_mounts());
  diff::ApplyResponse response;
  auto stub = diff::Diff::NewStub(stubs_->channel);
  return ToResult(stub->Apply(&context, request, &response));
}

Result<> Containerd::CommitSnapshot(const std::string& snapshotter, const std::string& lease,
                                    const std::string& name, const std::string& key) {
  grpc::ClientContext context;
  stubs_->Prepare(&context, kQuick);
  context.AddMetadata("containerd-lease", lease);
  snapshots::CommitSnapshotRequest request;
  request.set_snapshotter(snapshotter);
  request.set_name(name);
  request.set_key(key);
  google::protobuf::Empty response;
  return ToResult(stubs_->snapshots->Commit(&context, request, &response));
}

}  // namespace gantry::client
