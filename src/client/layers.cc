// SPDX-License-Identifier: Apache-2.0
//
// Making layers of images: differences between snapshots, layers unpacked into snapshots, blobs
// that are written bit by bit, and leases that hold all of it until an image names it.
#include <utility>

#include "client/containerd.h"
#include "client/stubs.h"
#include "containerd/services/diff/v1/diff.grpc.pb.h"
#include "containerd/services/leases/v1/leases.grpc.pb.h"
#include "formats/digest.h"

namespace gantry::client {

namespace content = containerd::services::content::v1;
namespace diff = containerd::services::diff::v1;
namespace leases = containerd::services::leases::v1;
namespace snapshots = containerd::services::snapshots::v1;

namespace {

constexpr std::chrono::hours kLayerBound(2);
constexpr std::chrono::hours kLeaseLife(24);  // of one whose owner was killed

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

}  // namespace

Result<> Containerd::CreateLease(const std::string& id, LeaseLife life) {
  leases::CreateRequest request;
  request.set_id(id);
  if (life == LeaseLife::kDay) {
    (*request.mutable_labels())["containerd.io/gc.expire"] =
        FormatRfc3339Nano(WallClock::now() + kLeaseLife);
  }
  leases::CreateResponse response;
  auto stub = leases::Leases::NewStub(stubs_->channel);
  return Call(*stubs_, kQuick, stub.get(), &leases::Leases::Stub::Create, request, &response);
}

Result<> Containerd::DeleteLease(const std::string& id) {
  leases::DeleteRequest request;
  request.set_id(id);
  google::protobuf::Empty response;
  auto stub = leases::Leases::NewStub(stubs_->channel);
  Result<> deleted =
      Call(*stubs_, kQuick, stub.get(), &leases::Leases::Stub::Delete, request, &response);
  if (!deleted.ok() && deleted.error().kind() == ErrorKind::kNotFound) return {};
  return deleted;
}

Result<std::vector<std::string>> Containerd::ListLeases() {
  leases::ListRequest request;
  leases::ListResponse response;
  auto stub = leases::Leases::NewStub(stubs_->channel);
  TRY(Call(*stubs_, kQuick, stub.get(), &leases::Leases::Stub::List, request, &response));
  std::vector<std::string> ids;
  for (const auto& lease : response.leases()) ids.push_back(lease.id());
  return ids;
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
                                          const std::string& media_type) {
  grpc::ClientContext context;
  stubs_->Prepare(&context, kLayerBound);
  context.AddMetadata("containerd-lease", lease);
  diff::DiffRequest request;
  AddMounts(left, request.mutable_left());
  AddMounts(right, request.mutable_right());
  request.set_media_type(media_type);
  request.set_ref(lease);
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

// Content.Write: pieces at their offsets, then a commit of what was hashed on the way.
struct BlobWriter::Stream {
  grpc::ClientContext context;
  std::unique_ptr<
      grpc::ClientReaderWriter<content::WriteContentRequest, content::WriteContentResponse>>
      calls;
  std::string ref;
  formats::Hasher hash;
  int64_t offset = 0;
  bool finished = false;

  Result<> Finish() {
    finished = true;
    return ToResult(calls->Finish());
  }
};

BlobWriter::BlobWriter(std::unique_ptr<Stream> stream) : stream_(std::move(stream)) {}
BlobWriter::~BlobWriter() {
  if (stream_->finished) return;
  stream_->context.TryCancel();
  (void)stream_->Finish();  // nobody waits for what was given up
}

Result<std::unique_ptr<BlobWriter>> Containerd::OpenBlob(const std::string& lease) {
  auto stream = std::make_unique<BlobWriter::Stream>();
  stubs_->Prepare(&stream->context, kLayerBound);
  stream->context.AddMetadata("containerd-lease", lease);
  stream->ref = "engine-" + lease;
  stream->calls = stubs_->content->Write(&stream->context);
  return std::unique_ptr<BlobWriter>(new BlobWriter(std::move(stream)));
}

Result<> BlobWriter::Write(std::string_view data) {
  constexpr size_t kPiece = size_t{1} << 20;
  while (!data.empty()) {
    std::string_view piece = data.substr(0, kPiece);
    content::WriteContentRequest request;
    request.set_action(content::WRITE);
    request.set_ref(stream_->ref);
    request.set_offset(stream_->offset);
    request.set_data(std::string(piece));
    content::WriteContentResponse response;
    if (!stream_->calls->Write(request) || !stream_->calls->Read(&response)) {
      Result<> ended = stream_->Finish();
      return ended.ok() ? Unavailable("writing a blob: the stream ended") : ended;
    }
    stream_->hash.Update(piece);
    stream_->offset += static_cast<int64_t>(piece.size());
    data.remove_prefix(piece.size());
  }
  return {};
}

Result<Descriptor> BlobWriter::Commit(const Labels& labels) {
  Descriptor blob{"", stream_->hash.Current().text(), stream_->offset};
  content::WriteContentRequest request;
  request.set_action(content::COMMIT);
  request.set_ref(stream_->ref);
  request.set_offset(stream_->offset);
  request.set_total(stream_->offset);
  request.set_expected(blob.digest);
  for (const auto& [key, value] : labels) (*request.mutable_labels())[key] = value;
  content::WriteContentResponse response;
  stream_->calls->Write(request);
  stream_->calls->WritesDone();
  while (stream_->calls->Read(&response)) {
  }
  Result<> done = stream_->Finish();
  if (!done.ok() && done.error().kind() != ErrorKind::kAlreadyExists)
    return std::move(done).error();
  return blob;
}

}  // namespace gantry::client
