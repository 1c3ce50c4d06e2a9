// SPDX-License-Identifier: Apache-2.0
#include "buildkit/client_cache.h"

#include <utility>

#include "formats/digest.h"
#include "oci/image_spec.h"

namespace gantry::buildkit {
namespace {

class ClientCache : public build::CachePlace {
 public:
  ClientCache(std::shared_ptr<Session> session, std::string directory, std::string manifest,
              StopToken stop)
      : session_(std::move(session)),
        directory_(std::move(directory)),
        manifest_(std::move(manifest)),
        stop_(std::move(stop)) {}

  const std::string& name() const override { return directory_; }

  Result<std::string> ReadManifest() override {
    formats::Digest digest = TRY(formats::Digest::Parse(manifest_));
    std::string text;
    TRY(session_->ReadBlob(
        Stored(manifest_),
        [&](std::string_view piece) -> Result<> {
          text += piece;
          if (text.size() <= oci::kMaxDocumentBytes) return {};
          return InvalidArgument("{} is too large for a cache", manifest_);
        },
        stop_));
    if (formats::Digest::Of(text, digest.algorithm()) == digest) return text;
    return InvalidArgument("what came for {} has another digest", manifest_);
  }

  Result<> ReadBlob(const client::Descriptor& blob, const Take& take) override {
    return session_->ReadBlob(Stored(blob.digest), take, stop_);
  }

  Result<> WriteBlob(const client::Descriptor& blob, const Read& read) override {
    return session_->WriteBlob(Stored(blob.digest), blob.size, read, stop_);
  }

  // Its name is the client's business, who hears of the digest.
  Result<> WriteManifest(const client::Descriptor& blob, const std::string& text) override {
    return WriteBlob(blob, [&](uint64_t offset, uint64_t size, const Take& take) {
      return take(std::string_view(text).substr(offset, size));
    });
  }

 private:
  Session::StoredBlob Stored(const std::string& digest) const {
    return {"local:" + directory_, digest};
  }

  const std::shared_ptr<Session> session_;
  const std::string directory_;
  const std::string manifest_;
  const StopToken stop_;
};

}  // namespace

std::unique_ptr<build::CachePlace> OpenClientCache(std::shared_ptr<Session> session,
                                                   const std::string& directory,
                                                   const std::string& manifest,
                                                   const StopToken& stop) {
  return std::make_unique<ClientCache>(std::move(session), directory, manifest, stop);
}

}  // namespace gantry::buildkit
