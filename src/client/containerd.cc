// SPDX-License-Identifier: Apache-2.0
#include "client/containerd.h"

#include <absl/synchronization/mutex.h>

#include <utility>

#include "base/undo.h"
#include "client/stubs.h"
#include "containerd/runc/v1/options.pb.h"

namespace gantry::client {

namespace containers = containerd::services::containers::v1;
namespace content = containerd::services::content::v1;
namespace images = containerd::services::images::v1;
namespace introspection = containerd::services::introspection::v1;
namespace namespaces = containerd::services::namespaces::v1;
namespace snapshots = containerd::services::snapshots::v1;

Containerd::Stubs::Stubs(std::shared_ptr<grpc::Channel> on, std::string name_space_name)
    : name_space(std::move(name_space_name)),
      channel(std::move(on)),
      containers(containers::Containers::NewStub(channel)),
      content(content::Content::NewStub(channel)),
      events(containerd::services::events::v1::Events::NewStub(channel)),
      images(images::Images::NewStub(channel)),
      introspection(introspection::Introspection::NewStub(channel)),
      namespaces(namespaces::Namespaces::NewStub(channel)),
      snapshots(snapshots::Snapshots::NewStub(channel)),
      streaming(containerd::services::streaming::v1::Streaming::NewStub(channel)),
      tasks(containerd::services::tasks::v1::Tasks::NewStub(channel)),
      transfer(containerd::services::transfer::v1::Transfer::NewStub(channel)),
      version(containerd::services::version::v1::Version::NewStub(channel)) {}

void Containerd::Stubs::Prepare(grpc::ClientContext* context,
                                std::chrono::milliseconds timeout) const {
  context->AddMetadata("containerd-namespace", name_space);
  context->set_wait_for_ready(true);
  if (timeout.count() > 0) context->set_deadline(std::chrono::system_clock::now() + timeout);
}

Result<> ToResult(const grpc::Status& status) {
  if (status.ok()) return {};
  return Error(static_cast<ErrorKind>(status.error_code()), status.error_message());
}

WallTime FromProto(const google::protobuf::Timestamp& time) {
  return FromUnixNanos(time.seconds() * 1'000'000'000 + time.nanos());
}

namespace {

// The daemon sits beside us: reconnect fast, never wait the default second and more.
constexpr int kReconnectBackoffMs = 50;
constexpr int kMaxMessageBytes = 16 << 20;

Labels FromProto(const google::protobuf::Map<std::string, std::string>& labels) {
  return Labels(labels.begin(), labels.end());
}

void ToProto(const Labels& labels, google::protobuf::Map<std::string, std::string>* out) {
  for (const auto& [key, value] : labels) (*out)[key] = value;
}

Image FromProto(const images::Image& image) {
  Image out;
  out.name = image.name();
  out.target = {image.target().media_type(), image.target().digest(), image.target().size()};
  out.labels = FromProto(image.labels());
  out.created_at = client::FromProto(image.created_at());
  out.updated_at = client::FromProto(image.updated_at());
  return out;
}

std::vector<Mount> FromProto(
    const google::protobuf::RepeatedPtrField<containerd::types::Mount>& in) {
  std::vector<Mount> out;
  for (const auto& mount : in) {
    out.push_back({mount.type(),
                   mount.source(),
                   mount.target(),
                   {mount.options().begin(), mount.options().end()}});
  }
  return out;
}

}  // namespace

Containerd::Containerd(std::unique_ptr<Stubs> stubs) : stubs_(std::move(stubs)) {}
Containerd::~Containerd() = default;

std::unique_ptr<Containerd> Containerd::Create(const std::string& address,
                                               const std::string& name_space) {
  // gRPC's own locks: a distribution's build may be one that follows the order of each.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kMaxMessageBytes);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, kReconnectBackoffMs);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, kReconnectBackoffMs);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 10 * kReconnectBackoffMs);
  // Each object has a connection of its own, so that its life is the object's.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  auto channel =
      grpc::CreateCustomChannel("unix:" + address, grpc::InsecureChannelCredentials(), arguments);
  return std::unique_ptr<Containerd>(
      new Containerd(std::make_unique<Stubs>(std::move(channel), name_space)));
}

Result<std::string> Containerd::Version(std::chrono::milliseconds timeout) {
  grpc::ClientContext context;
  stubs_->Prepare(&context, timeout);
  containerd::services::version::v1::VersionResponse response;
  TRY_WITH(ToResult(stubs_->version->Version(&context, {}, &response)),
           "asking containerd for its version");
  return response.version();
}

Result<> Containerd::EnsureNamespace() {
  namespaces::CreateNamespaceRequest request;
  request.mutable_namespace_()->set_name(stubs_->name_space);
  namespaces::CreateNamespaceResponse response;
  Result<> made = Call(*stubs_, kQuick, stubs_->namespaces.get(),
                       &namespaces::Namespaces::Stub::Create, request, &response);
  if (!made.ok() && made.error().kind() == ErrorKind::kAlreadyExists) return {};
  return made;
}

Result<Image> Containerd::GetImage(const std::string& name) {
  images::GetImageRequest request;
  request.set_name(name);
  images::GetImageResponse response;
  TRY(Call(*stubs_, kQuick, stubs_->images.get(), &images::Images::Stub::Get, request, &response));
  return FromProto(response.image());
}

Result<std::vector<Image>> Containerd::ListImages() {
  images::ListImagesResponse response;
  TRY(Call(*stubs_, kQuick, stubs_->images.get(), &images::Images::Stub::List,
           images::ListImagesRequest(), &response));
  std::vector<Image> out;
  for (const images::Image& image : response.images()) out.push_back(FromProto(image));
  return out;
}

Result<> Containerd::PutImage(const Image& image) {
  Undo counted;
  counted.Push([this] { ++image_changes_; });
  images::CreateImageRequest create;
  images::Image* target = create.mutable_image();
  target->set_name(image.name);
  target->mutable_target()->set_media_type(image.target.media_type);
  target->mutable_target()->set_digest(image.target.digest);
  target->mutable_target()->set_size(image.target.size);
  ToProto(image.labels, target->mutable_labels());
  images::CreateImageResponse created;
  Result<> made =
      Call(*stubs_, kQuick, stubs_->images.get(), &images::Images::Stub::Create, create, &created);
  if (made.ok() || made.error().kind() != ErrorKind::kAlreadyExists) return made;
  images::UpdateImageRequest update;
  *update.mutable_image() = create.image();
  images::UpdateImageResponse updated;
  return Call(*stubs_, kQuick, stubs_->images.get(), &images::Images::Stub::Update, update,
              &updated);
}

Result<> Containerd::DeleteImage(const std::string& name, bool collect) {
  Undo counted;
  counted.Push([this] { ++image_changes_; });
  images::DeleteImageRequest request;
  request.set_name(name);
  request.set_sync(collect);
  google::protobuf::Empty response;
  return Call(*stubs_, kSlow, stubs_->images.get(), &images::Images::Stub::Delete, request,
              &response);
}

Result<Blob> Containerd::GetBlob(const std::string& digest) {
  content::InfoRequest request;
  request.set_digest(digest);
  content::InfoResponse response;
  TRY(Call(*stubs_, kQuick, stubs_->content.get(), &content::Content::Stub::Info, request,
           &response));
  return Blob{response.info().digest(), response.info().size(),
              FromProto(response.info().labels())};
}

Result<> Containerd::DeleteBlob(const std::string& digest) {
  content::DeleteContentRequest request;
  request.set_digest(digest);
  google::protobuf::Empty response;
  return Call(*stubs_, kQuick, stubs_->content.get(), &content::Content::Stub::Delete, request,
              &response);
}

Result<std::string> Containerd::ReadBlob(const std::string& digest, size_t limit) {
  grpc::ClientContext context;
  stubs_->Prepare(&context, kSlow);
  content::ReadContentRequest request;
  request.set_digest(digest);
  auto reader = stubs_->content->Read(&context, request);
  std::string out;
  content::ReadContentResponse part;
  while (reader->Read(&part)) {
    if (out.size() + part.data().size() > limit) {
      context.TryCancel();
      while (reader->Read(&part)) {
      }
      (void)reader->Finish();
      return MakeError(ErrorKind::kResourceExhausted, "reading blob '{}': more than {} bytes",
                       digest, limit);
    }
    out += part.data();
  }
  TRY_WITH(ToResult(reader->Finish()), "reading blob '{}'", digest);
  return out;
}

Result<> Containerd::ReadBlobPart(const std::string& digest, uint64_t offset, uint64_t size,
                                  const std::function<Result<>(std::string_view)>& take) {
  grpc::ClientContext context;
  // However slow whoever takes it is.
  stubs_->Prepare(&context, std::chrono::milliseconds(0));
  content::ReadContentRequest request;
  request.set_digest(digest);
  request.set_offset(static_cast<int64_t>(offset));
  request.set_size(static_cast<int64_t>(size));
  auto reader = stubs_->content->Read(&context, request);
  content::ReadContentResponse part;
  Result<> taken;
  while (reader->Read(&part)) {
    if (taken.ok()) taken = take(part.data());
    if (!taken.ok()) context.TryCancel();
  }
  Result<> read = ToResult(reader->Finish());
  TRY(std::move(taken));
  TRY_WITH(std::move(read), "reading blob '{}'", digest);
  return {};
}

Result<> Containerd::WriteBlob(const std::string& digest, const std::string& data,
                               const Labels& labels) {
  grpc::ClientContext context;
  stubs_->Prepare(&context, kSlow);
  auto stream = stubs_->content->Write(&context);
  content::WriteContentRequest request;
  request.set_action(content::COMMIT);
  request.set_ref("engine-" + digest);
  request.set_total(static_cast<int64_t>(data.size()));
  request.set_expected(digest);
  request.set_data(data);
  ToProto(labels, request.mutable_labels());
  content::WriteContentResponse response;
  stream->Write(request);
  stream->WritesDone();
  while (stream->Read(&response)) {
  }
  Result<> written = ToResult(stream->Finish());
  if (!written.ok() && written.error().kind() == ErrorKind::kAlreadyExists) return {};
  return written;
}

Result<std::vector<std::string>> Containerd::SnapshotterCapabilities(
    const std::string& snapshotter) {
  introspection::PluginsRequest request;
  request.add_filters(fmt::format("type==io.containerd.snapshotter.v1,id=={}", snapshotter));
  introspection::PluginsResponse response;
  TRY(Call(*stubs_, kQuick, stubs_->introspection.get(),
           &introspection::Introspection::Stub::Plugins, request, &response));
  // One that could not be loaded is listed with its error.
  for (const auto& plugin : response.plugins()) {
    if (plugin.has_init_err()) {
      return FailedPrecondition("snapshotter \"{}\": {}", snapshotter, plugin.init_err().message());
    }
    return std::vector<std::string>(plugin.capabilities().begin(), plugin.capabilities().end());
  }
  return NotFound("the container daemon has no snapshotter \"{}\"", snapshotter);
}

Result<std::vector<Mount>> Containerd::PrepareSnapshot(const std::string& snapshotter,
                                                       const std::string& key,
                                                       const std::string& parent,
                                                       const Labels& labels,
                                                       const std::string& lease) {
  snapshots::PrepareSnapshotRequest request;
  request.set_snapshotter(snapshotter);
  request.set_key(key);
  request.set_parent(parent);
  ToProto(labels, request.mutable_labels());
  snapshots::PrepareSnapshotResponse response;
  grpc::ClientContext context;
  stubs_->Prepare(&context, kQuick);
  if (!lease.empty()) context.AddMetadata("containerd-lease", lease);
  TRY(ToResult(stubs_->snapshots->Prepare(&context, request, &response)));
  return FromProto(response.mounts());
}

Result<std::vector<Mount>> Containerd::ViewSnapshot(const std::string& snapshotter,
                                                    const std::string& key,
                                                    const std::string& parent, const Labels& labels,
                                                    const std::string& lease) {
  snapshots::ViewSnapshotRequest request;
  request.set_snapshotter(snapshotter);
  request.set_key(key);
  request.set_parent(parent);
  ToProto(labels, request.mutable_labels());
  snapshots::ViewSnapshotResponse response;
  grpc::ClientContext context;
  stubs_->Prepare(&context, kQuick);
  if (!lease.empty()) context.AddMetadata("containerd-lease", lease);
  TRY(ToResult(stubs_->snapshots->View(&context, request, &response)));
  return FromProto(response.mounts());
}

Result<std::vector<Mount>> Containerd::SnapshotMounts(const std::string& snapshotter,
                                                      const std::string& key) {
  snapshots::MountsRequest request;
  request.set_snapshotter(snapshotter);
  request.set_key(key);
  snapshots::MountsResponse response;
  TRY(Call(*stubs_, kQuick, stubs_->snapshots.get(), &snapshots::Snapshots::Stub::Mounts, request,
           &response));
  return FromProto(response.mounts());
}

Result<SnapshotUsage> Containerd::GetSnapshotUsage(const std::string& snapshotter,
                                                   const std::string& key) {
  snapshots::UsageRequest request;
  request.set_snapshotter(snapshotter);
  request.set_key(key);
  snapshots::UsageResponse response;
  TRY(Call(*stubs_, kQuick, stubs_->snapshots.get(), &snapshots::Snapshots::Stub::Usage, request,
           &response));
  return SnapshotUsage{response.size(), response.inodes()};
}

Result<> Containerd::RemoveSnapshot(const std::string& snapshotter, const std::string& key) {
  snapshots::RemoveSnapshotRequest request;
  request.set_snapshotter(snapshotter);
  request.set_key(key);
  google::protobuf::Empty response;
  return Call(*stubs_, kQuick, stubs_->snapshots.get(), &snapshots::Snapshots::Stub::Remove,
              request, &response);
}

Result<> Containerd::CreateContainer(const Container& container) {
  containers::CreateContainerRequest request;
  containers::Container* target = request.mutable_container();
  target->set_id(container.id);
  target->set_image(container.image);
  ToProto(container.labels, target->mutable_labels());
  target->mutable_runtime()->set_name(container.runtime);
  if (!container.runtime_binary.empty() || container.io_uid != 0 || container.io_gid != 0) {
    ::containerd::runc::v1::Options options;
    options.set_binary_name(container.runtime_binary);
    options.set_io_uid(container.io_uid);
    options.set_io_gid(container.io_gid);
    target->mutable_runtime()->mutable_options()->set_type_url(options.GetTypeName());
    target->mutable_runtime()->mutable_options()->set_value(options.SerializeAsString());
  }
  target->set_snapshotter(container.snapshotter);
  target->set_snapshot_key(container.snapshot_key);
  target->mutable_spec()->set_type_url("types.containerd.io/opencontainers/runtime-spec/1/Spec");
  target->mutable_spec()->set_value(container.spec);
  containers::CreateContainerResponse response;
  return Call(*stubs_, kQuick, stubs_->containers.get(), &containers::Containers::Stub::Create,
              request, &response);
}

Result<> Containerd::DeleteContainer(const std::string& id) {
  containers::DeleteContainerRequest request;
  request.set_id(id);
  google::protobuf::Empty response;
  return Call(*stubs_, kQuick, stubs_->containers.get(), &containers::Containers::Stub::Delete,
              request, &response);
}

Result<std::vector<std::string>> Containerd::ListContainers() {
  containers::ListContainersResponse response;
  TRY(Call(*stubs_, kQuick, stubs_->containers.get(), &containers::Containers::Stub::List,
           containers::ListContainersRequest(), &response));
  std::vector<std::string> out;
  for (const auto& container : response.containers()) out.push_back(container.id());
  return out;
}

}  // namespace gantry::client
