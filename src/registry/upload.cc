// SPDX-License-Identifier: Apache-2.0
#include "registry/upload.h"

#include <algorithm>
#include <optional>

#include "base/number.h"
#include "registry/authorizer.h"

namespace gantry::registry {
namespace {

constexpr uint64_t kChunkBytes = uint64_t{16} << 20;
constexpr int kMaxAttempts = 10;
constexpr int kRequestTooLarge = 413;
constexpr int kWrongRange = 416;

bool IsSuccess(const HttpAnswer& answer) { return answer.status >= 200 && answer.status <= 299; }

class Uploader {
 public:
  Uploader(const UploadTarget& target, const formats::Digest& digest, const HttpUpload& body,
           const StopToken& stop)
      : target_(target), digest_(digest), body_(body), stop_(stop) {}

  Result<HttpAnswer> Run(const HttpAnswer& session) {
    TRY(MoveTo(session));
    for (int attempt = 1;; ++attempt) {
      const uint64_t begin = offset_;
      auto answer = chunk_bytes_ == 0 ? PutRest() : PutChunks();
      if (answer.ok() && IsSuccess(*answer)) return answer;
      bool too_large = answer.ok() && answer->status == kRequestTooLarge;
      if (too_large && chunk_bytes_ == 0 && body_.size > kChunkBytes) {
        TRY(BeginInChunks());
        continue;
      }
      bool broke = answer.ok() ? answer->status >= 500 || answer->status == kWrongRange
                               : answer.error().kind() == ErrorKind::kUnavailable;
      Error error = answer.ok() ? ErrorOfAnswer(*answer) : std::move(answer).error();
      if (!broke) return error;
      error.SetKind(ErrorKind::kUnavailable);
      if (attempt == kMaxAttempts || stop_.stop_requested()) return error;
      // Who does not know how much it has, or has no more than before, is not asked for ever.
      if (!TRY(AskOffset()) || offset_ <= begin) return error;
    }
  }

 private:
  // Where the upload goes on: absolute, or below the host that said it.
  Result<> MoveTo(const HttpAnswer& answer) {
    std::string location = answer.Header("location");
    std::string base = target_.base();
    if (location.empty()) return InvalidArgument("the registry names no place for the upload");
    bool tls = base.starts_with("https://");
    if (tls && location.starts_with("http://")) {
      return FailedPrecondition("the registry wants the upload at '{}', without TLS", location);
    }
    if (!location.starts_with("http://") && !location.starts_with("https://")) {
      std::string authority = base.substr(0, base.find('/', base.find("://") + 3));
      location = location.starts_with('/') ? authority + location : base + "/" + location;
    }
    place_ = std::move(location);
    return {};
  }

  HttpRequest Request(const char* method, std::string url) const {
    return {.method = method,
            .url = std::move(url),
            .headers = {"Content-Type: application/octet-stream"}};
  }
  std::string FinalPlace() const {
    return place_ + (place_.find('?') == std::string::npos ? "?" : "&") +
           "digest=" + UrlEncode(digest_.text());
  }

  // Sends bytes [offset, offset + size) as the request's body.
  Result<HttpAnswer> Send(HttpRequest request, uint64_t size, bool is_part) {
    const uint64_t begin = offset_;
    HttpUpload part{.size = size,
                    .read = [&](uint64_t at, char* buffer, size_t room) -> Result<size_t> {
                      return body_.read(begin + at, buffer, std::min<uint64_t>(room, size - at));
                    }};
    if (is_part && size > 0) {
      request.headers.push_back(fmt::format("Content-Range: {}-{}", begin, begin + size - 1));
    }
    request.upload = &part;
    return target_.ask(std::move(request));
  }

  Result<HttpAnswer> PutRest() {
    return Send(Request("PUT", FinalPlace()), body_.size - offset_, /*is_part=*/offset_ > 0);
  }

  Result<HttpAnswer> PutChunks() {
    while (offset_ < body_.size) {
      uint64_t size = std::min(chunk_bytes_, body_.size - offset_);
      HttpAnswer answer = TRY(Send(Request("PATCH", place_), size, /*is_part=*/true));
      if (!IsSuccess(answer)) return answer;
      TRY(MoveTo(answer));
      offset_ += size;
    }
    return Send(Request("PUT", FinalPlace()), 0, /*is_part=*/false);
  }

  // What was refused as a whole may have ended the session with it.
  Result<> BeginInChunks() {
    HttpAnswer session = TRY(target_.ask({.method = "POST", .url = target_.start}));
    if (!IsSuccess(session)) return ErrorOfAnswer(session);
    auto least = ParseNumber<uint64_t>(session.Header("oci-chunk-min-length"));
    chunk_bytes_ = std::max(kChunkBytes, least.value_or(0));
    offset_ = 0;
    return MoveTo(session);
  }

  // How much the registry has: "0-N" of its answer's Range. False: it does not say.
  Result<bool> AskOffset() {
    auto answer = target_.ask({.url = place_});
    if (!answer.ok() || !IsSuccess(*answer)) return false;
    std::string range = answer->Header("range");
    auto last = ParseNumber<uint64_t>(range.substr(range.find('-') + 1));
    if (range.find('-') == std::string::npos || !last || *last >= body_.size) return false;
    offset_ = *last + 1;
    if (!answer->Header("location").empty()) TRY(MoveTo(*answer));
    return true;
  }

  const UploadTarget& target_;
  const formats::Digest& digest_;
  const HttpUpload& body_;
  const StopToken& stop_;
  std::string place_;
  uint64_t offset_ = 0;       // what the registry has
  uint64_t chunk_bytes_ = 0;  // 0: the whole at once
};

}  // namespace

Result<HttpAnswer> Upload(const UploadTarget& target, const HttpAnswer& session,
                          const formats::Digest& digest, const HttpUpload& body,
                          const StopToken& stop) {
  return Uploader(target, digest, body, stop).Run(session);
}

}  // namespace gantry::registry
