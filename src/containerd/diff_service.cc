// SPDX-License-Identifier: Apache-2.0
#include "base/random.h"
#include "base/stop_token.h"
#include "containerd/collector.h"
#include "containerd/content_write.h"
#include "containerd/image_records.h"
#include "containerd/parts.h"
#include "containerd/records.h"
#include "containerd/rpc.h"
#include "containerd/services/diff/v1/diff.grpc.pb.h"
#include "images/apply_layer.h"
#include "images/make_layer.h"
#include "oci/image_spec.h"
#include "records/database.h"

namespace gantry::containerd {
namespace {

namespace diff_api = ::containerd::services::diff::v1;

using formats::compression::Kind;

constexpr const char* kUncompressedLabel = "containerd.io/uncompressed";

std::vector<snapshots::Mount> ToMounts(
    const google::protobuf::RepeatedPtrField<::containerd::types::Mount>& messages) {
  std::vector<snapshots::Mount> mounts;
  for (const auto& mount : messages) {
    mounts.push_back({mount.type(),
                      mount.source(),
                      mount.target(),
                      {mount.options().begin(), mount.options().end()}});
  }
  return mounts;
}

Result<Kind> CompressionOf(std::string_view media_type) {
  if (media_type == oci::kOciLayer || media_type == oci::kDockerLayer) return Kind::kNone;
  if (media_type == oci::kOciLayerGzip || media_type == oci::kDockerLayerGzip) return Kind::kGzip;
  if (media_type == oci::kOciLayerZstd || media_type == oci::kDockerLayerZstd) return Kind::kZstd;
  return Unimplemented("unsupported diff media type: {}", media_type);
}

class WriterSink : public ByteSink {
 public:
  explicit WriterSink(content::BlobWriter* writer) : writer_(*writer) {}
  Result<> Write(std::string_view data) override { return writer_.Write(data); }

 private:
  content::BlobWriter& writer_;
};

// Makes the write a blob with a record; that such a blob is there already is as good.
Result<content::BlobInfo> CommitDiff(Parts* parts, const Caller& caller,
                                     content::BlobWriter& writer, Labels labels,
                                     const formats::Digest& diff_id) {
  auto guard = parts->collector->Hold();
  formats::Digest written = writer.Current();
  auto committed = writer.Commit(0, {});
  content::BlobInfo blob;
  if (committed.ok()) {
    blob = *std::move(committed);
  } else if (committed.error().kind() == ErrorKind::kAlreadyExists) {
    blob = TRY(parts->blobs->Stat(written));
  } else {
    return std::move(committed).error();
  }
  labels[kUncompressedLabel] = diff_id.text();
  TRY(RecordBlob(parts, caller, blob, labels));
  return blob;
}

Result<> MakeDiff(Parts* parts, const Caller& caller, const diff_api::DiffRequest& request,
                  ::containerd::types::Descriptor* descriptor) {
  std::string media_type = request.media_type();
  if (media_type.empty()) media_type = oci::kOciLayerGzip;
  images::LayerRequest layer_request;
  layer_request.lower = ToMounts(request.left());
  layer_request.upper = ToMounts(request.right());
  layer_request.compression = TRY(CompressionOf(media_type));
  if (request.has_source_date_epoch()) {
    layer_request.newest_seconds = request.source_date_epoch().seconds();
  }
  std::string ref = request.ref();
  if (ref.empty()) ref = "diff-" + RandomHex(16);
  if (!caller.lease.empty()) {
    auto tx = TRY(parts->database->Begin());
    TRY(AddToLease(tx, caller.ns, caller.lease, "ingests", ref));
    TRY(tx.Commit());
  }
  auto writer = TRY(parts->blobs->OpenWriter({.ns = caller.ns, .ref = ref}));
  TRY(writer->Truncate(0));
  WriterSink sink(writer.get());
  auto made = images::MakeLayer(layer_request, sink, StopToken());
  if (!made.ok()) {
    writer->Discard();
    return std::move(made).error();
  }
  auto blob = TRY(CommitDiff(parts, caller, *writer, ToLabels(request.labels()), made->diff_id));
  descriptor->set_media_type(media_type);
  descriptor->set_digest(blob.digest.text());
  descriptor->set_size(static_cast<int64_t>(blob.size));
  return {};
}

class DiffService : public diff_api::Diff::CallbackService {
 public:
  explicit DiffService(Parts* parts) : parts_(parts) {}

 private:
  // Extracts a layer straight into the directories that the mounts name: nothing is mounted.
  grpc::ServerUnaryReactor* Apply(Context* context, const diff_api::ApplyRequest* request,
                                  diff_api::ApplyResponse* response) override {
    return AnswerCallerOn(
        *parts_->workers, context, [this, request, response](const Caller& caller) -> Result<> {
          auto diff = TRY(ToDescriptor(request->diff()));
          {
            auto tx = TRY(parts_->database->Read());
            TRY(GetContent(tx, caller.ns, diff.digest.text()));
          }
          auto mounts = ToMounts(request->mounts());
          FdSource blob(TRY(parts_->blobs->OpenBlob(diff.digest)));
          auto applied = TRY_WITH(images::ApplyToMounts(mounts, blob, StopToken()),
                                  "applying layer {}", diff.digest.text());
          auto* descriptor = response->mutable_applied();
          descriptor->set_media_type(std::string(oci::kOciLayer));
          descriptor->set_digest(applied.diff_id.text());
          descriptor->set_size(static_cast<int64_t>(applied.size));
          return {};
        });
  }

  grpc::ServerUnaryReactor* Diff(Context* context, const diff_api::DiffRequest* request,
                                 diff_api::DiffResponse* response) override {
    return AnswerCallerOn(*parts_->workers, context,
                          [this, request, response](const Caller& caller) -> Result<> {
                            return MakeDiff(parts_, caller, *request, response->mutable_diff());
                          });
  }

  Parts* parts_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeDiffService(Parts* parts) {
  return std::make_unique<DiffService>(parts);
}

}  // namespace gantry::containerd
