// SPDX-License-Identifier: Apache-2.0
//
// Blobs that are written bit by bit, and what the store says of blobs.
#include <utility>

#include "client/containerd.h"
#include "client/stubs.h"
#include "formats/digest.h"

namespace gantry::client {

namespace content = containerd::services::content::v1;

namespace {

constexpr std::chrono::hours kWriteBound(2);

}  // namespace

// containerd's filters (its package "filters"): a label's name has dots and slashes, so it is
// quoted; of a value only these two would end the quotes.
std::string LabelFilter(std::string_view label, std::string_view value) {
  std::string quoted;
  for (char c : value) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return fmt::format("labels.\"{}\"==\"{}\"", label, quoted);
}

// Content.Write: pieces at their offsets, then a commit of what was hashed on the way, or by the
// daemon.
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
  // A request and its answer.
  Result<> Exchange(const content::WriteContentRequest& request,
                    content::WriteContentResponse* response) {
    if (calls->Write(request) && calls->Read(response)) return {};
    Result<> ended = Finish();
    return ended.ok() ? Unavailable("writing a blob: the stream ended") : ended;
  }
};

std::string WriteOf(const std::string& lease) { return "engine-" + lease; }

BlobWriter::BlobWriter(std::unique_ptr<Stream> stream) : stream_(std::move(stream)) {}
BlobWriter::~BlobWriter() {
  if (stream_->finished) return;
  stream_->context.TryCancel();
  (void)stream_->Finish();  // nobody waits for what was given up
}

uint64_t BlobWriter::offset() const { return static_cast<uint64_t>(stream_->offset); }

Result<std::unique_ptr<BlobWriter>> Containerd::OpenBlob(const std::string& lease) {
  auto stream = std::make_unique<BlobWriter::Stream>();
  stubs_->Prepare(&stream->context, kWriteBound);
  stream->context.AddMetadata("containerd-lease", lease);
  stream->ref = WriteOf(lease);
  stream->calls = stubs_->content->Write(&stream->context);
  return std::unique_ptr<BlobWriter>(new BlobWriter(std::move(stream)));
}

Result<std::unique_ptr<BlobWriter>> Containerd::ResumeBlob(const std::string& lease,
                                                           const std::string& ref) {
  auto stream = std::make_unique<BlobWriter::Stream>();
  // However slow whoever sends it is.
  stubs_->Prepare(&stream->context, std::chrono::milliseconds(0));
  stream->context.AddMetadata("containerd-lease", lease);
  stream->ref = ref;
  stream->calls = stubs_->content->Write(&stream->context);
  content::WriteContentRequest request;
  request.set_action(content::STAT);
  request.set_ref(ref);
  content::WriteContentResponse response;
  TRY(stream->Exchange(request, &response));
  stream->offset = response.offset();
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
    TRY(stream_->Exchange(request, &response));
    stream_->hash.Update(piece);
    stream_->offset += static_cast<int64_t>(piece.size());
    data.remove_prefix(piece.size());
  }
  return {};
}

Result<> BlobWriter::SendCommit(const std::string& digest, const Labels& labels) {
  content::WriteContentRequest request;
  request.set_action(content::COMMIT);
  request.set_ref(stream_->ref);
  request.set_offset(stream_->offset);
  request.set_total(stream_->offset);
  request.set_expected(digest);
  for (const auto& [key, value] : labels) (*request.mutable_labels())[key] = value;
  content::WriteContentResponse response;
  stream_->calls->Write(request);
  stream_->calls->WritesDone();
  while (stream_->calls->Read(&response)) {
  }
  Result<> done = stream_->Finish();
  if (!done.ok() && done.error().kind() == ErrorKind::kAlreadyExists) return {};
  return done;
}

Result<Descriptor> BlobWriter::Commit(const Labels& labels) {
  Descriptor blob{"", stream_->hash.Current().text(), stream_->offset};
  TRY(SendCommit(blob.digest, labels));
  return blob;
}

Result<> BlobWriter::CommitAs(const std::string& digest, const Labels& labels) {
  return SendCommit(digest, labels);
}

Result<uint64_t> Containerd::WrittenSize(const std::string& ref) {
  content::StatusRequest request;
  request.set_ref(ref);
  content::StatusResponse response;
  TRY(Call(*stubs_, kQuick, stubs_->content.get(), &content::Content::Stub::Status, request,
           &response));
  return static_cast<uint64_t>(response.status().offset());
}

Result<> Containerd::AbortWrite(const std::string& ref) {
  content::AbortRequest request;
  request.set_ref(ref);
  google::protobuf::Empty response;
  return Call(*stubs_, kQuick, stubs_->content.get(), &content::Content::Stub::Abort, request,
              &response);
}

Result<std::vector<Blob>> Containerd::FindBlobs(const std::string& label,
                                                const std::string& value) {
  grpc::ClientContext context;
  stubs_->Prepare(&context, kQuick);
  content::ListContentRequest request;
  request.add_filters(LabelFilter(label, value));
  auto reader = stubs_->content->List(&context, request);
  std::vector<Blob> blobs;
  content::ListContentResponse part;
  while (reader->Read(&part)) {
    for (const auto& info : part.info()) {
      blobs.push_back(
          {info.digest(), info.size(), Labels(info.labels().begin(), info.labels().end())});
    }
  }
  TRY(ToResult(reader->Finish()));
  return blobs;
}

Result<> Containerd::SetBlobLabels(const std::string& digest, const Labels& labels) {
  content::UpdateRequest request;
  request.mutable_info()->set_digest(digest);
  for (const auto& [key, value] : labels) {
    (*request.mutable_info()->mutable_labels())[key] = value;
    request.mutable_update_mask()->add_paths("labels." + key);
  }
  content::UpdateResponse response;
  return Call(*stubs_, kQuick, stubs_->content.get(), &content::Content::Stub::Update, request,
              &response);
}

}  // namespace gantry::client
