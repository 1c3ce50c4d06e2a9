// SPDX-License-Identifier: Apache-2.0
//
// The services that keep records, through gRPC in this process.
#include <grpcpp/grpcpp.h>
#include <grpcpp/impl/service_type.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "base/random.h"
#include "containerd/collector.h"
#include "containerd/event_exchange.h"
#include "containerd/events/image.pb.h"
#include "containerd/parts.h"
#include "containerd/records.h"
#include "containerd/rpc.h"
#include "containerd/services/containers/v1/containers.grpc.pb.h"
#include "containerd/services/content/v1/content.grpc.pb.h"
#include "containerd/services/events/v1/events.grpc.pb.h"
#include "containerd/services/images/v1/images.grpc.pb.h"
#include "containerd/services/leases/v1/leases.grpc.pb.h"
#include "containerd/services/namespaces/v1/namespace.grpc.pb.h"
#include "containerd/services/snapshots/v1/snapshots.grpc.pb.h"
#include "containerd/snapshot_records.h"
#include "snapshots/native_snapshotter.h"
#include "snapshots/trash.h"
#include "wire/worker_pool.h"

namespace gantry::containerd {
namespace {

namespace containers = ::containerd::services::containers::v1;
namespace content_api = ::containerd::services::content::v1;
namespace leases = ::containerd::services::leases::v1;
namespace namespaces = ::containerd::services::namespaces::v1;
namespace snapshots_api = ::containerd::services::snapshots::v1;
using google::protobuf::Empty;
using grpc::StatusCode;

class ServicesTest : public ::testing::Test {
 protected:
  ServicesTest() {
    std::filesystem::create_directories(root_);
    database_ = std::move(OpenRecords(root_ + "/meta.db")).value();
    blobs_ = std::move(content::BlobStore::Open(root_ + "/content")).value();
    trash_ = std::move(snapshots::Trash::Open(root_ + "/trash")).value();
    snapshot_records_ = MakeSnapshotRecords(database_.get(), "native");
    native_ = std::move(snapshots::MakeNativeSnapshotter(root_ + "/native", snapshot_records_.get(),
                                                         trash_.get()))
                  .value();
    EXPECT_TRUE(native_->Recover().ok());
    collector_ = std::make_unique<Collector>(
        database_.get(), &events_, blobs_.get(),
        std::map<std::string, snapshots::Snapshotter*>{{"native", native_.get()}});
    parts_ = Parts{.root = root_,
                   .uuid = "",
                   .disabled_plugins = {},
                   .database = database_.get(),
                   .events = &events_,
                   .workers = &workers_,
                   .blobs = blobs_.get(),
                   .snapshotters = {{"native", native_.get()}},
                   .collector = collector_.get(),
                   .shims = nullptr,
                   .sandboxes = nullptr,
                   .mounts = nullptr,
                   .streams = nullptr};
    for (auto make :
         {MakeContainersService, MakeContentService, MakeEventsService, MakeImagesService,
          MakeLeasesService, MakeNamespacesService, MakeSnapshotsService}) {
      services_.push_back(make(&parts_));
    }
    grpc::ServerBuilder builder;
    for (auto& service : services_) builder.RegisterService(service.get());
    server_ = builder.BuildAndStart();
    channel_ = server_->InProcessChannel(grpc::ChannelArguments());
  }
  ~ServicesTest() override {
    server_->Shutdown(std::chrono::system_clock::now());
    collector_.reset();
    trash_.reset();
    std::filesystem::remove_all(root_);
  }

  struct Call : grpc::ClientContext {
    explicit Call(const std::string& lease = "") {
      AddMetadata("containerd-namespace", "test");
      if (!lease.empty()) AddMetadata("containerd-lease", lease);
    }
  };

  // Writes a blob in two messages and commits it.
  grpc::Status WriteBlob(const std::string& data, const Labels& labels,
                         const std::string& expected = "", const std::string& lease = "") {
    auto stub = content_api::Content::NewStub(channel_);
    Call call(lease);
    auto stream = stub->Write(&call);
    content_api::WriteContentRequest request;
    content_api::WriteContentResponse response;
    request.set_ref("ref-" + data.substr(0, 8));
    request.set_action(content_api::WRITE);
    request.set_data(data.substr(0, data.size() / 2));
    if (!stream->Write(request) || !stream->Read(&response)) return stream->Finish();
    request.set_action(content_api::COMMIT);
    request.set_offset(response.offset());
    request.set_data(data.substr(data.size() / 2));
    request.set_total(static_cast<int64_t>(data.size()));
    request.set_expected(expected.empty() ? formats::Digest::Of(data).text() : expected);
    SetLabels(labels, request.mutable_labels());
    if (stream->Write(request)) stream->Read(&response);
    return stream->Finish();
  }
  bool HasBlob(const std::string& data) {
    auto stub = content_api::Content::NewStub(channel_);
    Call call;
    content_api::InfoRequest request;
    request.set_digest(formats::Digest::Of(data).text());
    content_api::InfoResponse response;
    bool recorded = stub->Info(&call, request, &response).ok();
    EXPECT_EQ(recorded, blobs_->Stat(formats::Digest::Of(data)).ok());
    return recorded;
  }
  grpc::Status CreateImage(const std::string& name, const std::string& target) {
    auto stub = images_api::Images::NewStub(channel_);
    Call call;
    images_api::CreateImageRequest request;
    request.mutable_image()->set_name(name);
    request.mutable_image()->mutable_target()->set_digest(formats::Digest::Of(target).text());
    request.mutable_image()->mutable_target()->set_size(static_cast<int64_t>(target.size()));
    request.mutable_image()->mutable_target()->set_media_type("text/plain");
    images_api::CreateImageResponse response;
    return stub->Create(&call, request, &response);
  }

  const std::string root_ = ::testing::TempDir() + "/services-" + RandomHex(8);
  EventExchange events_;
  wire::WorkerPool workers_{8};
  std::unique_ptr<Database> database_;
  std::unique_ptr<content::BlobStore> blobs_;
  std::unique_ptr<snapshots::Trash> trash_;
  std::unique_ptr<snapshots::SnapshotRecords> snapshot_records_;
  std::unique_ptr<snapshots::Snapshotter> native_;
  std::unique_ptr<Collector> collector_;
  Parts parts_{};
  std::vector<std::unique_ptr<grpc::Service>> services_;
  std::unique_ptr<grpc::Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
};

TEST_F(ServicesTest, ContainersFollowTheFieldMask) {
  auto stub = containers::Containers::NewStub(channel_);
  containers::CreateContainerRequest create;
  auto* container = create.mutable_container();
  container->set_id("c1");
  container->mutable_runtime()->set_name("r");
  container->mutable_spec()->set_value("{}");
  (*container->mutable_labels())["a"] = "1";
  containers::CreateContainerResponse created;
  {
    grpc::ClientContext without_namespace;
    EXPECT_EQ(stub->Create(&without_namespace, create, &created).error_code(),
              StatusCode::FAILED_PRECONDITION);
  }
  {
    Call call;
    ASSERT_TRUE(stub->Create(&call, create, &created).ok());
  }
  {
    Call call;
    EXPECT_EQ(stub->Create(&call, create, &created).error_code(), StatusCode::ALREADY_EXISTS);
  }
  containers::UpdateContainerRequest update;
  update.mutable_container()->set_id("c1");
  (*update.mutable_container()->mutable_labels())["b"] = "2";
  update.mutable_container()->set_image("ignored");
  update.mutable_update_mask()->add_paths("labels.b");
  containers::UpdateContainerResponse updated;
  {
    Call call;
    ASSERT_TRUE(stub->Update(&call, update, &updated).ok());
    EXPECT_EQ(updated.container().labels().at("a"), "1");
    EXPECT_EQ(updated.container().labels().at("b"), "2");
    EXPECT_EQ(updated.container().image(), "");
  }
  update.mutable_update_mask()->add_paths("runtime");
  {
    Call call;
    EXPECT_EQ(stub->Update(&call, update, &updated).error_code(), StatusCode::INVALID_ARGUMENT);
  }
  containers::ListContainersRequest list;
  list.add_filters("labels.b==2");
  containers::ListContainersResponse listed;
  {
    Call call;
    ASSERT_TRUE(stub->List(&call, list, &listed).ok());
    EXPECT_EQ(listed.containers_size(), 1);
  }
}

TEST_F(ServicesTest, ContentIsVerifiedAndWrittenOnce) {
  EXPECT_TRUE(WriteBlob("hello content", {{"k", "v"}}).ok());
  EXPECT_TRUE(HasBlob("hello content"));
  EXPECT_EQ(WriteBlob("hello content", {}).error_code(), StatusCode::ALREADY_EXISTS);
  EXPECT_EQ(WriteBlob("other content", {}, formats::Digest::Of("else").text()).error_code(),
            StatusCode::FAILED_PRECONDITION);
  EXPECT_FALSE(HasBlob("other content"));

  auto stub = content_api::Content::NewStub(channel_);
  Call call;
  content_api::ReadContentRequest request;
  request.set_digest(formats::Digest::Of("hello content").text());
  request.set_offset(6);
  auto stream = stub->Read(&call, request);
  content_api::ReadContentResponse response;
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(response.data(), "content");
  EXPECT_EQ(response.offset(), 6);
  EXPECT_FALSE(stream->Read(&response));
}

TEST_F(ServicesTest, CollectsWhatNothingRefersTo) {
  std::string layer = "layer bytes";
  std::string manifest = "manifest bytes";
  ASSERT_TRUE(WriteBlob(layer, {{"containerd.io/gc.ref.snapshot.native", "chain"}}).ok());
  ASSERT_TRUE(
      WriteBlob(manifest, {{"containerd.io/gc.ref.content.l.0", formats::Digest::Of(layer).text()}})
          .ok());
  ASSERT_TRUE(WriteBlob("garbage bytes", {}).ok());
  ASSERT_TRUE(CreateImage("image", manifest).ok());
  ASSERT_TRUE(native_->Prepare("test", "base-key", "", {}).ok());
  ASSERT_TRUE(native_->Commit("test", "base", "base-key", {}).ok());
  ASSERT_TRUE(native_->Prepare("test", "chain-key", "base", {}).ok());
  ASSERT_TRUE(native_->Commit("test", "chain", "chain-key", {}).ok());
  ASSERT_TRUE(native_->Prepare("test", "loose", "chain", {}).ok());

  auto collected = collector_->Collect();
  ASSERT_TRUE(collected.ok());
  EXPECT_EQ(collected->blobs, 1u);
  EXPECT_EQ(collected->snapshots, 1u);
  EXPECT_TRUE(HasBlob(layer));
  EXPECT_FALSE(HasBlob("garbage bytes"));
  EXPECT_TRUE(native_->Stat("test", "base").ok());
  EXPECT_FALSE(native_->Stat("test", "loose").ok());

  auto stub = images_api::Images::NewStub(channel_);
  Call call;
  images_api::DeleteImageRequest remove;
  remove.set_name("image");
  remove.set_sync(true);
  Empty empty;
  ASSERT_TRUE(stub->Delete(&call, remove, &empty).ok());
  EXPECT_FALSE(HasBlob(layer));
  EXPECT_FALSE(HasBlob(manifest));
  EXPECT_FALSE(native_->Stat("test", "chain").ok());
  EXPECT_FALSE(native_->Stat("test", "base").ok());
}

TEST_F(ServicesTest, LeasesKeepAndExpire) {
  auto stub = leases::Leases::NewStub(channel_);
  auto create = [&](const std::string& id, const std::string& expires) {
    Call call;
    leases::CreateRequest request;
    request.set_id(id);
    if (!expires.empty()) (*request.mutable_labels())["containerd.io/gc.expire"] = expires;
    leases::CreateResponse response;
    return stub->Create(&call, request, &response);
  };
  ASSERT_TRUE(create("keeps", "").ok());
  ASSERT_TRUE(create("expired", "2020-01-01T00:00:00Z").ok());
  EXPECT_EQ(create("keeps", "").error_code(), StatusCode::ALREADY_EXISTS);
  EXPECT_EQ(WriteBlob("no such lease", {}, "", "missing").error_code(), StatusCode::NOT_FOUND);
  ASSERT_TRUE(WriteBlob("kept bytes", {}, "", "keeps").ok());
  ASSERT_TRUE(WriteBlob("lost bytes", {}, "", "expired").ok());
  auto collected = collector_->Collect();
  ASSERT_TRUE(collected.ok());
  EXPECT_EQ(collected->leases, 1u);
  EXPECT_TRUE(HasBlob("kept bytes"));
  EXPECT_FALSE(HasBlob("lost bytes"));
}

TEST_F(ServicesTest, NamespacesGoOnlyWhenEmpty) {
  ASSERT_TRUE(WriteBlob("some bytes", {}).ok());
  auto stub = namespaces::Namespaces::NewStub(channel_);
  namespaces::DeleteNamespaceRequest request;
  request.set_name("test");
  Empty empty;
  {
    Call call;
    EXPECT_EQ(stub->Delete(&call, request, &empty).error_code(), StatusCode::FAILED_PRECONDITION);
  }
  ASSERT_TRUE(collector_->Collect().ok());
  {
    Call call;
    EXPECT_TRUE(stub->Delete(&call, request, &empty).ok());
  }
  {
    Call call;
    EXPECT_EQ(stub->Delete(&call, request, &empty).error_code(), StatusCode::NOT_FOUND);
  }
}

TEST_F(ServicesTest, SubscribersGetWhatTheyFilterFor) {
  auto stub = ::containerd::services::events::v1::Events::NewStub(channel_);
  Call call;
  ::containerd::services::events::v1::SubscribeRequest request;
  request.add_filters("topic==\"/images/create\",event.name==wanted");
  auto stream = stub->Subscribe(&call, request);
  stream->WaitForInitialMetadata();
  ASSERT_TRUE(WriteBlob("target", {}).ok());
  ASSERT_TRUE(CreateImage("other", "target").ok());
  ASSERT_TRUE(CreateImage("wanted", "target").ok());
  ::containerd::types::Envelope envelope;
  ASSERT_TRUE(stream->Read(&envelope));
  EXPECT_EQ(envelope.namespace_(), "test");
  images_api::ImageCreate event;
  ASSERT_TRUE(event.ParseFromString(envelope.event().value()));
  EXPECT_EQ(event.name(), "wanted");
  call.TryCancel();
}

TEST_F(ServicesTest, SnapshotsHaveParentsAndChildren) {
  auto stub = snapshots_api::Snapshots::NewStub(channel_);
  auto prepare = [&](const std::string& key, const std::string& parent) {
    Call call;
    snapshots_api::PrepareSnapshotRequest request;
    request.set_snapshotter("native");
    request.set_key(key);
    request.set_parent(parent);
    snapshots_api::PrepareSnapshotResponse response;
    return stub->Prepare(&call, request, &response).error_code();
  };
  auto remove = [&](const std::string& key) {
    Call call;
    snapshots_api::RemoveSnapshotRequest request;
    request.set_snapshotter("native");
    request.set_key(key);
    Empty empty;
    return stub->Remove(&call, request, &empty).error_code();
  };
  EXPECT_EQ(prepare("a", ""), StatusCode::OK);
  EXPECT_EQ(prepare("a", ""), StatusCode::ALREADY_EXISTS);
  EXPECT_EQ(prepare("b", "missing"), StatusCode::NOT_FOUND);
  EXPECT_EQ(prepare("b", "a"), StatusCode::INVALID_ARGUMENT);
  ASSERT_TRUE(native_->Commit("test", "base", "a", {}).ok());
  EXPECT_EQ(prepare("b", "base"), StatusCode::OK);
  EXPECT_EQ(remove("base"), StatusCode::FAILED_PRECONDITION);
  EXPECT_EQ(remove("b"), StatusCode::OK);
  EXPECT_EQ(remove("base"), StatusCode::OK);
  EXPECT_EQ(remove("base"), StatusCode::NOT_FOUND);
}

}  // namespace
}  // namespace gantry::containerd
