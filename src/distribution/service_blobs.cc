// SPDX-License-Identifier: Apache-2.0
//
// Blobs and their uploads.
#include "base/number.h"
#include "distribution/service.h"

namespace gantry::distribution {
namespace {

using formats::Digest;

struct Range {
  uint64_t first = 0;
  uint64_t last = 0;
};

// "bytes=A-B", "bytes=A-", "bytes=-N" (RFC 9110 section 14). Nothing: the whole, as for a form that
// is not known or several ranges. kOutOfRange: none of it is there.
Result<std::optional<Range>> ParseRange(std::string_view text, uint64_t size) {
  if (!text.starts_with("bytes=") || text.find(',') != text.npos) return std::optional<Range>();
  text.remove_prefix(6);
  size_t dash = text.find('-');
  if (dash == text.npos) return std::optional<Range>();
  std::optional<uint64_t> first = ParseNumber<uint64_t>(text.substr(0, dash));
  std::optional<uint64_t> last = ParseNumber<uint64_t>(text.substr(dash + 1));
  if (!first && dash == 0 && last) {
    if (*last == 0 || size == 0) return MakeError(ErrorKind::kOutOfRange, "no byte of {}", size);
    return std::optional(Range{size - std::min(*last, size), size - 1});
  }
  if (!first || (!last && dash + 1 < text.size())) return std::optional<Range>();
  if (last && *last < *first) return std::optional<Range>();
  if (*first >= size) return MakeError(ErrorKind::kOutOfRange, "byte {} of {}", *first, size);
  return std::optional(Range{*first, std::min(last.value_or(size - 1), size - 1)});
}

// "A-B", both inclusive (spec, "Pushing a blob in chunks"); docker's clients write "bytes=A-B" too.
Result<Range> ParseChunk(std::string_view text) {
  if (text.starts_with("bytes ") || text.starts_with("bytes=")) text.remove_prefix(6);
  text = text.substr(0, text.find('/'));
  size_t dash = text.find('-');
  std::optional<uint64_t> first = ParseNumber<uint64_t>(text.substr(0, dash));
  std::optional<uint64_t> last =
      dash == text.npos ? std::nullopt : ParseNumber<uint64_t>(text.substr(dash + 1));
  if (!first || !last || *last < *first) {
    return InvalidArgument("Content-Range '{}' is not like 0-99", text);
  }
  return Range{*first, *last};
}

Result<Digest> DigestOf(const wire::Exchange& exchange) {
  const std::string* text = exchange.query().Find("digest");
  if (text == nullptr) return InvalidArgument("the parameter digest is missing");
  return Digest::Parse(*text);
}

// A body that is shorter or longer than its Content-Range says.
class ChunkSource : public ByteSource {
 public:
  ChunkSource(ByteSource& body, std::optional<uint64_t> size) : body_(body), left_(size) {}

  Result<std::string_view> Next() override {
    std::string_view piece = TRY(body_.Next());
    if (!left_) return piece;
    if (piece.size() > *left_ || (piece.empty() && *left_ > 0)) {
      return InvalidArgument("the body is not as long as Content-Range says");
    }
    *left_ -= piece.size();
    return piece;
  }

 private:
  ByteSource& body_;
  std::optional<uint64_t> left_;
};

}  // namespace

Result<> Service::GetBlob(wire::Exchange& exchange, const Route& route) {
  Digest digest = TRY(Digest::Parse(route.reference));
  uint64_t size = TRY(store_->BlobSize(route.repository, digest));
  auto& headers = exchange.headers();
  headers.Set("Content-Type", "application/octet-stream");
  headers.Set("Docker-Content-Digest", digest.text());
  headers.Set("Accept-Ranges", "bytes");
  std::string tag = "\"" + digest.text() + "\"";
  headers.Set("ETag", tag);
  if (exchange.request().headers.Get("If-None-Match") == tag) return exchange.Respond(304);
  auto range = ParseRange(exchange.request().headers.Get("Range"), size);
  if (!range.ok()) {
    headers.Set("Content-Range", fmt::format("bytes */{}", size));
    return RespondError(exchange, 416, "SIZE_INVALID", range.error().message());
  }
  Range part = size == 0 ? Range{} : range->value_or(Range{0, size - 1});
  uint64_t length = size == 0 ? 0 : part.last - part.first + 1;
  if (*range) {
    headers.Set("Content-Range", fmt::format("bytes {}-{}/{}", part.first, part.last, size));
  }
  headers.Set("Content-Length", std::to_string(length));
  TRY(exchange.Begin(*range ? 206 : 200));
  if (exchange.request().method != "HEAD") {
    TRY(store_->ReadBlob(route.repository, digest, part.first, length,
                         [&](std::string_view piece) { return exchange.Write(piece); }));
  }
  return exchange.Finish();
}

Result<> Service::DeleteBlob(wire::Exchange& exchange, const Route& route) {
  TRY(store_->DeleteBlob(route.repository, TRY(Digest::Parse(route.reference))));
  return exchange.Respond(202);
}

Result<> Service::AnswerBlobMade(wire::Exchange& exchange, const std::string& repository,
                                 const Digest& digest) {
  exchange.headers().Set("Location", fmt::format("/v2/{}/blobs/{}", repository, digest.text()));
  exchange.headers().Set("Docker-Content-Digest", digest.text());
  return exchange.Respond(201);
}

void Service::SetUploadHeaders(wire::Exchange& exchange, const Route& route, uint64_t size) {
  auto& headers = exchange.headers();
  headers.Set("Location",
              fmt::format("/v2/{}/blobs/uploads/{}", route.repository, route.reference));
  headers.Set("Docker-Upload-UUID", route.reference);
  // Of an upload without a byte too, as docker's registry has it.
  headers.Set("Range", fmt::format("0-{}", size == 0 ? 0 : size - 1));
}

Result<> Service::BeginUpload(wire::Exchange& exchange, const Route& route) {
  const wire::Query& query = exchange.query();
  if (const std::string* mount = query.Find("mount")) {
    Digest digest = TRY(Digest::Parse(*mount));
    if (TRY(store_->MountBlob(route.repository, std::string(query.Get("from")), digest))) {
      return AnswerBlobMade(exchange, route.repository, digest);
    }
  }
  formats::DigestAlgorithm algorithm = formats::DigestAlgorithm::kSha256;
  if (std::string_view name = query.Get("digest-algorithm", "sha256"); name == "sha512") {
    algorithm = formats::DigestAlgorithm::kSha512;
  } else if (name != "sha256") {
    return InvalidArgument("digest algorithm '{}': only sha256 and sha512", name);
  }
  std::optional<Digest> whole;
  if (query.Has("digest")) whole = TRY(DigestOf(exchange));
  Route upload = route;
  upload.reference =
      TRY(store_->BeginUpload(route.repository, whole ? whole->algorithm() : algorithm));
  if (!whole) {
    SetUploadHeaders(exchange, upload, 0);
    return exchange.Respond(202);
  }
  // All at once: nothing of it stays when it fails.
  auto taken = TakeBody(exchange, upload);
  Result<> finished = taken.ok() ? store_->FinishUpload(upload.repository, upload.reference, *whole)
                                 : Result<>(std::move(taken).error());
  if (!finished.ok()) {
    TRY(store_->CancelUpload(upload.repository, upload.reference));
    return finished;
  }
  return AnswerBlobMade(exchange, route.repository, *whole);
}

Result<> Service::UploadStatus(wire::Exchange& exchange, const Route& route) {
  SetUploadHeaders(exchange, route, TRY(store_->UploadSize(route.repository, route.reference)));
  return exchange.Respond(204);
}

Result<uint64_t> Service::TakeBody(wire::Exchange& exchange, const Route& route) {
  std::optional<uint64_t> offset;
  std::optional<uint64_t> size;
  if (const std::string* text = exchange.request().headers.Find("Content-Range")) {
    Range chunk = TRY(ParseChunk(*text));
    offset = chunk.first;
    size = chunk.last - chunk.first + 1;
  }
  ChunkSource body(exchange.body(), size);
  return store_->AppendUpload(route.repository, route.reference, offset, body);
}

Result<> Service::AppendUpload(wire::Exchange& exchange, const Route& route) {
  auto size = TakeBody(exchange, route);
  if (!size.ok() && size.error().kind() == ErrorKind::kOutOfRange) {
    SetUploadHeaders(exchange, route, TRY(store_->UploadSize(route.repository, route.reference)));
  }
  SetUploadHeaders(exchange, route, TRY(std::move(size)));
  return exchange.Respond(202);
}

Result<> Service::FinishUpload(wire::Exchange& exchange, const Route& route) {
  Digest digest = TRY(DigestOf(exchange));
  TRY(TakeBody(exchange, route));
  TRY(store_->FinishUpload(route.repository, route.reference, digest));
  return AnswerBlobMade(exchange, route.repository, digest);
}

Result<> Service::CancelUpload(wire::Exchange& exchange, const Route& route) {
  TRY(store_->CancelUpload(route.repository, route.reference));
  return exchange.Respond(204);
}

}  // namespace gantry::distribution
