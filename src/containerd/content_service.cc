// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <algorithm>

#include "containerd/collector.h"
#include "containerd/content_write.h"
#include "containerd/event_exchange.h"
#include "containerd/events/content.pb.h"
#include "containerd/filters.h"
#include "containerd/names.h"
#include "containerd/parts.h"
#include "containerd/records.h"
#include "containerd/rpc.h"
#include "containerd/services/content/v1/content.grpc.pb.h"
#include "records/database.h"

namespace gantry::containerd {
namespace {

namespace content_api = ::containerd::services::content::v1;

constexpr size_t kReadChunk = size_t{1} << 20;

void Fill(const ContentRecord& record, content_api::Info* info) {
  info->set_digest(record.digest);
  info->set_size(static_cast<int64_t>(record.size));
  *info->mutable_created_at() = ToProto(record.created_at);
  *info->mutable_updated_at() = ToProto(record.updated_at);
  SetLabels(record.labels, info->mutable_labels());
}

void Fill(const content::IngestStatus& ingest, content_api::Status* status) {
  *status->mutable_started_at() = ToProto(ingest.started_at);
  *status->mutable_updated_at() = ToProto(ingest.updated_at);
  status->set_ref(ingest.ref);
  status->set_offset(static_cast<int64_t>(ingest.offset));
  status->set_total(static_cast<int64_t>(ingest.total));
  status->set_expected(ingest.expected.text());
}

// A part of a blob in chunks; each is read by a worker when the one before is on its way.
class ReadReactor : public grpc::ServerWriteReactor<content_api::ReadContentResponse> {
 public:
  ReadReactor(wire::WorkerPool* workers, UniqueFd blob, uint64_t offset, uint64_t end)
      : workers_(workers), blob_(std::move(blob)), offset_(offset), end_(end) {
    workers_->Run([this] { Next(); });
  }
  void OnWriteDone(bool ok) override {
    if (!ok) return Finish(grpc::Status(grpc::StatusCode::CANCELLED, "client is gone"));
    workers_->Run([this] { Next(); });
  }
  void OnDone() override { delete this; }

 private:
  void Next() {
    if (offset_ >= end_) return Finish(grpc::Status::OK);
    auto* data = response_.mutable_data();
    data->resize(std::min<uint64_t>(kReadChunk, end_ - offset_));
    ssize_t count = ::pread(blob_.get(), data->data(), data->size(), static_cast<off_t>(offset_));
    if (count <= 0) {
      return Finish(ToStatus(
          count < 0 ? ErrnoError("reading content")
                    : MakeError(ErrorKind::kDataLoss, "reading content: blob is too short")));
    }
    data->resize(static_cast<size_t>(count));
    response_.set_offset(static_cast<int64_t>(offset_));
    offset_ += static_cast<uint64_t>(count);
    StartWrite(&response_);
  }

  wire::WorkerPool* workers_;
  UniqueFd blob_;
  uint64_t offset_;
  const uint64_t end_;
  content_api::ReadContentResponse response_;
};

class ContentService : public content_api::Content::CallbackService {
 public:
  explicit ContentService(Parts* parts) : parts_(parts) {}

 private:
  grpc::ServerUnaryReactor* Info(Context* context, const content_api::InfoRequest* request,
                                 content_api::InfoResponse* response) override {
    return AnswerCaller(context, [&](const Caller& caller) -> Result<> {
      TRY(formats::Digest::Parse(request->digest()));
      auto tx = TRY(parts_->database->Read());
      Fill(TRY(GetContent(tx, caller.ns, request->digest())), response->mutable_info());
      return {};
    });
  }

  grpc::ServerUnaryReactor* Update(Context* context, const content_api::UpdateRequest* request,
                                   content_api::UpdateResponse* response) override {
    return AnswerCaller(context, [&](const Caller& caller) -> Result<> {
      auto tx = TRY(parts_->database->Begin());
      auto record = TRY(GetContent(tx, caller.ns, request->info().digest()));
      Labels wanted = ToLabels(request->info().labels());
      if (request->update_mask().paths().empty()) record.labels = wanted;
      for (const std::string& path : request->update_mask().paths()) {
        if (path == "labels") {
          record.labels = wanted;
        } else if (path.starts_with("labels.")) {
          std::string key = path.substr(7);
          record.labels[key] = wanted[key];
        } else {
          return InvalidArgument("cannot update \"{}\" field on content info \"{}\"", path,
                                 record.digest);
        }
      }
      // An empty value removes a label.
      std::erase_if(record.labels, [](const auto& label) { return label.second.empty(); });
      TRY(SetContentLabels(tx, caller.ns, record.digest, record.labels));
      TRY(tx.Commit());
      record.updated_at = Now();
      Fill(record, response->mutable_info());
      return {};
    });
  }

  grpc::ServerWriteReactor<content_api::ListContentResponse>* List(
      Context* context, const content_api::ListContentRequest* request) override {
    using Message = content_api::ListContentResponse;
    return AnswerList<Message>(context, [&](const Caller& caller) -> Result<std::vector<Message>> {
      return ListPages(caller, *request);
    });
  }

  Result<std::vector<content_api::ListContentResponse>> ListPages(
      const Caller& caller, const content_api::ListContentRequest& request) {
    constexpr int kPerMessage = 100;
    Filters filters = TRY(Filters::ParseAll(request.filters()));
    std::vector<content_api::ListContentResponse> messages;
    auto tx = TRY(parts_->database->Read());
    auto rows =
        TRY(tx.Query("SELECT digest, size, labels, created_at, updated_at FROM content "
                     "WHERE ns = ? ORDER BY digest",
                     caller.ns));
    while (TRY(rows.Next())) {
      ContentRecord record;
      record.digest = rows.Text(0);
      record.size = static_cast<uint64_t>(rows.Int(1));
      record.labels = TRY(DecodeLabels(rows.Bytes(2)));
      record.created_at = FromUnixNanos(rows.Int(3));
      record.updated_at = FromUnixNanos(rows.Int(4));
      auto lookup = [&](const FieldPath& path) -> std::optional<std::string> {
        if (path[0] == "digest") return record.digest;
        if (path[0] == "labels") return LabelOf(path, 1, record.labels);
        return std::nullopt;
      };
      if (!filters.Matches(lookup)) continue;
      if (messages.empty() || messages.back().info_size() == kPerMessage) messages.emplace_back();
      Fill(record, messages.back().add_info());
    }
    return messages;
  }

  grpc::ServerUnaryReactor* Delete(Context* context,
                                   const content_api::DeleteContentRequest* request,
                                   google::protobuf::Empty*) override {
    return AnswerCallerOn(
        *parts_->workers, context, [this, request](const Caller& caller) -> Result<> {
          auto digest = TRY(formats::Digest::Parse(request->digest()));
          {
            auto tx = TRY(parts_->database->Begin());
            TRY(GetContent(tx, caller.ns, request->digest()));
            TRY(tx.Execute("DELETE FROM content WHERE ns = ? AND digest = ?", caller.ns,
                           request->digest()));
            TRY(
                tx.Execute("DELETE FROM lease_resources WHERE ns = ? AND type = 'content' "
                           "AND id = ?",
                           caller.ns, request->digest()));
            TRY(tx.Commit());
          }
          TRY(parts_->collector->DeleteBlobUnlessNamed(digest));
          parts_->collector->Schedule();
          ::containerd::events::ContentDelete event;
          event.set_digest(request->digest());
          parts_->events->Publish(caller.ns, "/content/delete", event);
          return {};
        });
  }

  grpc::ServerWriteReactor<content_api::ReadContentResponse>* Read(
      Context* context, const content_api::ReadContentRequest* request) override {
    auto reactor = [&]() -> Result<ReadReactor*> {
      Caller caller = TRY(CallerOf(*context));
      auto digest = TRY(formats::Digest::Parse(request->digest()));
      uint64_t size = 0;
      {
        auto tx = TRY(parts_->database->Read());
        size = TRY(GetContent(tx, caller.ns, request->digest())).size;
      }
      auto offset = static_cast<uint64_t>(request->offset());
      if (request->offset() < 0 || offset > size) {
        return MakeError(ErrorKind::kOutOfRange, "read past object length {} bytes: offset is {}",
                         size, request->offset());
      }
      // A client may ask for more than there is, since it need not know the size.
      bool bounded = request->size() > 0 && static_cast<uint64_t>(request->size()) < size - offset;
      uint64_t end = bounded ? offset + static_cast<uint64_t>(request->size()) : size;
      return new ReadReactor(parts_->workers, TRY(parts_->blobs->OpenBlob(digest)), offset, end);
    }();
    if (!reactor.ok()) {
      return new ListReactor<content_api::ReadContentResponse>({}, ToStatus(reactor.error()));
    }
    return *reactor;
  }

  grpc::ServerUnaryReactor* Status(Context* context, const content_api::StatusRequest* request,
                                   content_api::StatusResponse* response) override {
    return AnswerCallerOn(
        *parts_->workers, context, [this, request, response](const Caller& caller) -> Result<> {
          Fill(TRY(parts_->blobs->Status(caller.ns, request->ref())), response->mutable_status());
          return {};
        });
  }

  grpc::ServerUnaryReactor* ListStatuses(Context* context,
                                         const content_api::ListStatusesRequest* request,
                                         content_api::ListStatusesResponse* response) override {
    return AnswerCallerOn(
        *parts_->workers, context, [this, request, response](const Caller& caller) -> Result<> {
          Filters filters = TRY(Filters::ParseAll(request->filters()));
          for (const auto& ingest : TRY(parts_->blobs->Ingests(caller.ns))) {
            auto lookup = [&](const FieldPath& path) -> std::optional<std::string> {
              if (path[0] == "ref") return ingest.ref;
              return std::nullopt;
            };
            if (filters.Matches(lookup)) Fill(ingest, response->add_statuses());
          }
          return {};
        });
  }

  ContentWriteReactor* Write(Context* context) override {
    return MakeContentWrite(parts_, CallerOf(*context));
  }

  grpc::ServerUnaryReactor* Abort(Context* context, const content_api::AbortRequest* request,
                                  google::protobuf::Empty*) override {
    return AnswerCallerOn(*parts_->workers, context,
                          [this, request](const Caller& caller) -> Result<> {
                            return parts_->blobs->Abort(caller.ns, request->ref());
                          });
  }

  Parts* parts_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeContentService(Parts* parts) {
  return std::make_unique<ContentService>(parts);
}

}  // namespace gantry::containerd
