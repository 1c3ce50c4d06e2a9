// SPDX-License-Identifier: Apache-2.0
#include "containerd/content_write.h"

#include <chrono>
#include <memory>

#include "containerd/collector.h"
#include "containerd/event_exchange.h"
#include "containerd/events/content.pb.h"
#include "containerd/records.h"
#include "records/database.h"

namespace gantry::containerd {
namespace {

namespace content_api = ::containerd::services::content::v1;

constexpr std::chrono::milliseconds kWriterWait(500);

// Any namespace may name a blob that is on disk by its digest; then nothing needs to be sent.
class ContentWrite : public ContentWriteReactor {
 public:
  ContentWrite(Parts* parts, Result<Caller> caller) : parts_(parts) {
    if (!caller.ok()) {
      Finish(ToStatus(caller.error()));
      return;
    }
    caller_ = *std::move(caller);
    StartRead(&request_);
  }

  void OnReadDone(bool ok) override {
    // The client is through, or gone: what was written stays for a later try.
    if (!ok) return Finish(grpc::Status::OK);
    parts_->workers->Run([this] {
      Result<> done = Process();
      if (!done.ok()) return Finish(ToStatus(done.error()));
      if (request_.action() != content_api::COMMIT) return StartWrite(&response_);
      StartWriteAndFinish(&response_, grpc::WriteOptions(), grpc::Status::OK);
    });
  }
  void OnWriteDone(bool ok) override {
    if (!ok) return Finish(grpc::Status(grpc::StatusCode::CANCELLED, "client is gone"));
    StartRead(&request_);
  }
  void OnDone() override {
    // Giving it back may wait for a collection.
    if (adopted_ != nullptr) parts_->workers->Run([blob = std::move(adopted_)] {});
    delete this;
  }

 private:
  Result<> Process() {
    bool first = writer_ == nullptr && adopted_ == nullptr;
    if (first) TRY(Open());
    if (!request_.expected().empty()) {
      expected_ = TRY(formats::Digest::Parse(request_.expected()));
      if (!first) TRY(RefuseExisting());
    }
    if (request_.total() > 0) total_ = static_cast<uint64_t>(request_.total());
    response_.Clear();
    response_.set_action(request_.action());
    if (request_.action() != content_api::STAT) TRY(Write());
    if (request_.action() == content_api::COMMIT) {
      response_.set_offset(static_cast<int64_t>(Offset()));
      response_.set_digest(TRY(Commit()));
      return {};
    }
    response_.set_offset(static_cast<int64_t>(Offset()));
    response_.set_total(static_cast<int64_t>(total_));
    if (writer_ != nullptr) {
      *response_.mutable_started_at() = ToProto(writer_->status().started_at);
      *response_.mutable_updated_at() = ToProto(writer_->status().updated_at);
      // The digest of a write in progress is dear to a large stream and asked for by STAT only.
      if (request_.action() == content_api::STAT) response_.set_digest(writer_->Current().text());
    } else {
      *response_.mutable_started_at() = ToProto(Now());
      *response_.mutable_updated_at() = response_.started_at();
      response_.set_digest(adopted_->info().digest.text());
    }
    return {};
  }

  Result<> Open() {
    if (request_.ref().empty()) {
      return InvalidArgument("first message must have a reference");
    }
    if (request_.total() < 0) return InvalidArgument("total must not be negative");
    total_ = static_cast<uint64_t>(request_.total());
    if (!request_.expected().empty()) {
      expected_ = TRY(formats::Digest::Parse(request_.expected()));
      TRY(RefuseExisting());
      adopted_ = TRY(parts_->collector->Borrow(expected_));
      if (adopted_ != nullptr) return {};
    }
    if (!caller_.lease.empty()) {
      auto tx = TRY(parts_->database->Begin());
      TRY(AddToLease(tx, caller_.ns, caller_.lease, "ingests", request_.ref()));
      TRY(tx.Commit());
    }
    auto open = [&] {
      return parts_->blobs->OpenWriter(
          {.ns = caller_.ns, .ref = request_.ref(), .total = total_, .expected = expected_});
    };
    auto writer = open();
    // The writer before may have ended a moment ago, which its client knows earlier than we.
    bool busy = !writer.ok() && writer.error().kind() == ErrorKind::kUnavailable;
    if (busy && parts_->blobs->WaitForWriter(caller_.ns, request_.ref(), kWriterWait)) {
      writer = open();
    }
    writer_ = TRY(std::move(writer));
    return {};
  }

  // The blob may have come by another way; the caller's lease then holds that one.
  Result<> RefuseExisting() {
    auto guard = parts_->collector->Hold();
    auto tx = TRY(parts_->database->Begin());
    auto existing = GetContent(tx, caller_.ns, expected_.text());
    if (!existing.ok()) {
      if (existing.error().kind() == ErrorKind::kNotFound) return {};
      return std::move(existing).error();
    }
    TRY(AddToLease(tx, caller_.ns, caller_.lease, "content", expected_.text()));
    TRY(tx.Commit());
    if (writer_ != nullptr) {
      writer_->Discard();
      writer_.reset();
    }
    return AlreadyExists("content {}: already exists", expected_.text());
  }

  uint64_t Offset() const { return writer_ != nullptr ? writer_->offset() : adopted_->info().size; }

  Result<> Write() {
    if (adopted_ != nullptr) {
      // A client that sends the bytes all the same needs not: they are there.
      return {};
    }
    auto offset = static_cast<uint64_t>(request_.offset());
    if (request_.offset() < 0) return InvalidArgument("offset must not be negative");
    if (offset > 0 && offset != writer_->offset()) {
      return MakeError(ErrorKind::kOutOfRange, "write @{} must occur at current offset {}", offset,
                       writer_->offset());
    }
    if (offset == 0 && writer_->offset() > 0) TRY(writer_->Truncate(0));
    if (!request_.data().empty()) TRY(writer_->Write(request_.data()));
    return {};
  }

  Result<std::string> Commit() {
    auto guard = parts_->collector->Hold();
    content::BlobInfo blob;
    if (adopted_ != nullptr) {
      blob = adopted_->info();
      if (total_ != 0 && total_ != blob.size) {
        return FailedPrecondition("committing content '{}': size is {}, expected {}",
                                  request_.ref(), blob.size, total_);
      }
    } else {
      formats::Digest written = expected_.empty() ? writer_->Current() : expected_;
      auto committed = writer_->Commit(total_, expected_);
      if (committed.ok()) {
        blob = *committed;
      } else if (committed.error().kind() == ErrorKind::kAlreadyExists) {
        blob = TRY(parts_->blobs->Stat(written));
        auto tx = TRY(parts_->database->Begin());
        auto existing = GetContent(tx, caller_.ns, written.text());
        if (existing.ok()) {
          TRY(AddToLease(tx, caller_.ns, caller_.lease, "content", written.text()));
          TRY(tx.Commit());
          return AlreadyExists("content {}: already exists", written.text());
        }
      } else {
        return std::move(committed).error();
      }
    }
    TRY(RecordBlob(parts_, caller_, blob, ToLabels(request_.labels())));
    return blob.digest.text();
  }

  Parts* parts_;
  Caller caller_;
  content_api::WriteContentRequest request_;
  content_api::WriteContentResponse response_;
  std::unique_ptr<content::BlobWriter> writer_;
  std::shared_ptr<Collector::BorrowedBlob> adopted_;  // what is on disk already
  uint64_t total_ = 0;
  formats::Digest expected_;
};

}  // namespace

ContentWriteReactor* MakeContentWrite(Parts* parts, Result<Caller> caller) {
  return new ContentWrite(parts, std::move(caller));
}

Result<> RecordBlob(Parts* parts, const Caller& caller, const content::BlobInfo& blob,
                    const Labels& labels) {
  auto tx = TRY(parts->database->Begin());
  ContentRecord record;
  record.digest = blob.digest.text();
  record.size = blob.size;
  record.labels = labels;
  TRY(PutContent(tx, caller.ns, record));
  TRY(AddToLease(tx, caller.ns, caller.lease, "content", record.digest));
  TRY(tx.Commit());
  ::containerd::events::ContentCreate event;
  event.set_digest(record.digest);
  event.set_size(static_cast<int64_t>(record.size));
  parts->events->Publish(caller.ns, "/content/create", event);
  return {};
}

}  // namespace gantry::containerd
