// SPDX-License-Identifier: Apache-2.0
#include "containerd/image_records.h"

#include "base/log.h"
#include "base/random.h"
#include "containerd/collector.h"
#include "containerd/content_write.h"
#include "containerd/event_exchange.h"
#include "containerd/events/image.pb.h"
#include "containerd/names.h"
#include "containerd/records.h"
#include "records/database.h"

namespace gantry::containerd {
namespace {

constexpr auto kLeaseTime = std::chrono::hours(24);
// Marks the leases that live no longer than the daemon that made them.
constexpr std::string_view kWorkLabel = "org.gantry.lease.work";

class SqlImageRecords : public images::ImageRecords {
 public:
  SqlImageRecords(Parts* parts, Caller caller) : parts_(parts), caller_(std::move(caller)) {}

  Result<std::optional<images::BlobRecord>> FindBlob(const formats::Digest& digest) override {
    auto guard = parts_->collector->Hold();
    auto tx = TRY(parts_->database->Begin());
    auto record = GetContent(tx, caller_.ns, digest.text());
    if (!record.ok()) {
      if (record.error().kind() != ErrorKind::kNotFound) return std::move(record).error();
      return std::optional<images::BlobRecord>();
    }
    // Whoever finds it builds on it.
    TRY(AddToLease(tx, caller_.ns, caller_.lease, "content", digest.text()));
    TRY(tx.Commit());
    return std::optional(images::BlobRecord{digest, record->size, record->labels});
  }

  Result<> PutBlob(const images::BlobRecord& blob) override {
    auto guard = parts_->collector->Hold();
    // Between its way to the disk and here it may have been collected as nobody's.
    auto info = TRY(parts_->blobs->Stat(blob.digest));
    return RecordBlob(parts_, caller_, info, blob.labels);
  }

  Result<> CommitBlob(const std::function<Result<>()>& commit,
                      const images::BlobRecord& blob) override {
    auto guard = parts_->collector->Hold();
    auto committed = commit();
    if (!committed.ok() && committed.error().kind() != ErrorKind::kAlreadyExists) return committed;
    auto info = TRY(parts_->blobs->Stat(blob.digest));
    return RecordBlob(parts_, caller_, info, blob.labels);
  }

  Result<std::optional<images::ImageRecord>> FindImage(const std::string& name) override {
    auto tx = TRY(parts_->database->Read());
    auto image = GetImage(tx, caller_.ns, name);
    if (!image.ok()) {
      if (image.error().kind() != ErrorKind::kNotFound) return std::move(image).error();
      return std::optional<images::ImageRecord>();
    }
    images::ImageRecord record;
    record.name = name;
    record.target = TRY(ToDescriptor(image->target()));
    record.labels = ToLabels(image->labels());
    record.created_at = FromProto(image->created_at());
    record.updated_at = FromProto(image->updated_at());
    return std::optional(std::move(record));
  }

  Result<> PutImage(const images::ImageRecord& record) override {
    TRY(CheckLabels(record.labels));
    images_api::Image image;
    image.set_name(record.name);
    *image.mutable_target() = ToProto(record.target);
    SetLabels(record.labels, image.mutable_labels());
    *image.mutable_updated_at() = ToProto(Now());
    auto guard = parts_->collector->Hold();
    auto tx = TRY(parts_->database->Begin());
    auto existing = GetImage(tx, caller_.ns, record.name);
    if (existing.ok()) {
      *image.mutable_created_at() = existing->created_at();
      TRY(UpdateImage(tx, caller_.ns, image));
    } else {
      *image.mutable_created_at() = image.updated_at();
      TRY(InsertImage(tx, caller_.ns, image));
    }
    TRY(tx.Commit());
    if (existing.ok()) {
      images_api::ImageUpdate event;
      event.set_name(image.name());
      *event.mutable_labels() = image.labels();
      parts_->events->Publish(caller_.ns, "/images/update", event);
      parts_->collector->Schedule();
    } else {
      images_api::ImageCreate event;
      event.set_name(image.name());
      *event.mutable_labels() = image.labels();
      parts_->events->Publish(caller_.ns, "/images/create", event);
    }
    return {};
  }

  Result<> KeepSnapshot(std::string_view snapshotter, const std::string& key) override {
    auto guard = parts_->collector->Hold();
    auto tx = TRY(parts_->database->Begin());
    TRY(AddToLease(tx, caller_.ns, caller_.lease, fmt::format("snapshots/{}", snapshotter), key));
    return tx.Commit();
  }

 private:
  Parts* parts_;
  const Caller caller_;
};

}  // namespace

Result<WorkLease> WorkLease::Create(Parts* parts, const Caller& caller) {
  if (!caller.lease.empty()) return WorkLease(parts, caller, false);
  Caller leased{caller.ns, "gantry-" + RandomHex(8)};
  Labels labels = {{"containerd.io/gc.expire", FormatRfc3339Nano(Now() + kLeaseTime)},
                   {std::string(kWorkLabel), "true"}};
  auto tx = TRY(parts->database->Begin());
  TRY(EnsureNamespace(tx, caller.ns));
  TRY(tx.Execute("INSERT INTO leases VALUES(?, ?, ?, ?)", leased.ns, leased.lease,
                 EncodeLabels(labels), UnixNanos(Now())));
  TRY(tx.Commit());
  return WorkLease(parts, std::move(leased), true);
}

Result<bool> WorkLease::RemoveLeftOver(Parts* parts) {
  std::vector<std::pair<std::string, std::string>> left;
  auto tx = TRY(parts->database->Begin());
  {
    auto rows = TRY(tx.Query("SELECT ns, id, labels FROM leases"));
    while (TRY(rows.Next())) {
      Labels labels = TRY(DecodeLabels(rows.Bytes(2)));
      if (labels.contains(std::string(kWorkLabel))) left.emplace_back(rows.Text(0), rows.Text(1));
    }
  }
  for (const auto& [ns, id] : left) {
    TRY(tx.Execute("DELETE FROM leases WHERE ns = ? AND id = ?", ns, id));
    TRY(tx.Execute("DELETE FROM lease_resources WHERE ns = ? AND lease = ?", ns, id));
  }
  TRY(tx.Commit());
  return !left.empty();
}

WorkLease::WorkLease(WorkLease&& other) noexcept
    : parts_(other.parts_),
      caller_(std::move(other.caller_)),
      own_(std::exchange(other.own_, false)) {}

WorkLease::~WorkLease() {
  if (!own_) return;
  auto removed = [&]() -> Result<> {
    auto tx = TRY(parts_->database->Begin());
    TRY(tx.Execute("DELETE FROM leases WHERE ns = ? AND id = ?", caller_.ns, caller_.lease));
    TRY(tx.Execute("DELETE FROM lease_resources WHERE ns = ? AND lease = ?", caller_.ns,
                   caller_.lease));
    return tx.Commit();
  }();
  if (!removed.ok()) log::Warning("removing a lease: {}", removed.error().message());
  parts_->collector->Schedule();
}

std::unique_ptr<images::ImageRecords> MakeImageRecords(Parts* parts, const Caller& caller) {
  return std::make_unique<SqlImageRecords>(parts, caller);
}

oci::Platform ToPlatform(const std::string& os, const std::string& architecture,
                         const std::string& variant) {
  oci::Platform platform = oci::HostPlatform();
  if (!os.empty()) platform.os = os;
  if (!architecture.empty()) {
    platform.architecture = architecture;
    platform.variant = variant;
  }
  return oci::Normalize(platform);
}

Result<oci::Descriptor> ToDescriptor(const ::containerd::types::Descriptor& proto) {
  oci::Descriptor descriptor;
  descriptor.media_type = proto.media_type();
  descriptor.digest = TRY(formats::Digest::Parse(proto.digest()));
  descriptor.size = proto.size();
  descriptor.annotations = ToLabels(proto.annotations());
  return descriptor;
}

::containerd::types::Descriptor ToProto(const oci::Descriptor& descriptor) {
  ::containerd::types::Descriptor proto;
  proto.set_media_type(descriptor.media_type);
  proto.set_digest(descriptor.digest.text());
  proto.set_size(descriptor.size);
  SetLabels(descriptor.annotations, proto.mutable_annotations());
  return proto;
}

}  // namespace gantry::containerd
