// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>
#include <utility>

#include "build/cache_place.h"
#include "engine/registry_calls.h"
#include "formats/digest.h"
#include "formats/reference.h"
#include "oci/image_spec.h"
#include "registry/client.h"

namespace gantry::build {
namespace {

class RegistryCache : public CachePlace {
 public:
  RegistryCache(std::unique_ptr<registry::Client> client, formats::Reference reference,
                std::string name, StopToken stop)
      : client_(std::move(client)),
        reference_(std::move(reference)),
        name_(std::move(name)),
        stop_(std::move(stop)) {}

  const std::string& name() const override { return name_; }

  Result<std::string> ReadManifest() override {
    return TRY(client_->GetManifest(reference_.domain, reference_.path, Named(), stop_)).text;
  }

  Result<> ReadBlob(const client::Descriptor& blob, const Take& take) override {
    formats::Digest digest = TRY(formats::Digest::Parse(blob.digest));
    // A document of an index is a manifest over there.
    if (oci::IsManifest(blob.media_type) || oci::IsIndex(blob.media_type)) {
      auto document =
          TRY(client_->GetManifest(reference_.domain, reference_.path, blob.digest, stop_));
      return take(document.text);
    }
    registry::Client::BlobSink sink;
    sink.restart = []() -> Result<> { return Internal("a blob began again"); };
    sink.write = take;
    return client_->GetBlob(reference_.domain, reference_.path, digest, 0, sink, stop_);
  }

  Result<> WriteBlob(const client::Descriptor& blob, const Read& read) override {
    registry::Client::BlobUpload upload;
    upload.digest = TRY(formats::Digest::Parse(blob.digest));
    upload.body.size = static_cast<uint64_t>(blob.size);
    upload.body.read = [&](uint64_t offset, char* buffer, size_t size) -> Result<size_t> {
      size_t want = std::min<uint64_t>(size, upload.body.size - offset);
      size_t have = 0;
      if (want == 0) return have;
      TRY(read(offset, want, [&](std::string_view piece) -> Result<> {
        piece = piece.substr(0, want - have);
        std::memcpy(buffer + have, piece.data(), piece.size());
        have += piece.size();
        return {};
      }));
      return have;
    };
    TRY(client_->PushBlob(reference_.domain, reference_.path, upload, stop_));
    return {};
  }

  Result<> WriteManifest(const client::Descriptor& blob, const std::string& text) override {
    registry::ManifestDocument document;
    document.descriptor.media_type = blob.media_type;
    document.descriptor.digest = TRY(formats::Digest::Parse(blob.digest));
    document.descriptor.size = blob.size;
    document.text = text;
    TRY(client_->PushManifest(reference_.domain, reference_.path, Named(), document, stop_));
    return {};
  }

 private:
  const std::string& Named() const {
    return reference_.digest.empty() ? reference_.tag : reference_.digest.text();
  }

  const std::unique_ptr<registry::Client> client_;
  const formats::Reference reference_;
  const std::string name_;
  const StopToken stop_;
};

class ImageCache : public CachePlace {
 public:
  ImageCache(client::Containerd& containerd, engine::NamedImage image, std::string name)
      : containerd_(containerd), image_(std::move(image)), name_(std::move(name)) {}

  const std::string& name() const override { return name_; }
  Result<std::string> ReadManifest() override {
    return containerd_.ReadBlob(image_.documents->manifest_descriptor.digest);
  }
  Result<> ReadBlob(const client::Descriptor& blob, const Take& take) override {
    return containerd_.ReadBlobPart(blob.digest, 0, static_cast<uint64_t>(blob.size), take);
  }
  Result<> WriteBlob(const client::Descriptor&, const Read&) override { return ReadOnly(); }
  Result<> WriteManifest(const client::Descriptor&, const std::string&) override {
    return ReadOnly();
  }

 private:
  Result<> ReadOnly() const { return Internal("the image {} takes no cache", name_); }

  client::Containerd& containerd_;
  const engine::NamedImage image_;
  const std::string name_;
};

}  // namespace

std::unique_ptr<CachePlace> OpenImageCache(engine::Engine& engine, engine::NamedImage image,
                                           std::string name) {
  return std::make_unique<ImageCache>(engine.containerd(), std::move(image), std::move(name));
}

Result<std::unique_ptr<CachePlace>> OpenRegistryCache(engine::Engine& engine,
                                                      const std::string& reference,
                                                      const client::Credentials& login,
                                                      const StopToken& stop) {
  formats::Reference parsed =
      TRY_WITH(formats::ParseReference(reference), "the cache's reference \"{}\"", reference);
  parsed = formats::WithDefaultTag(parsed);
  engine::RegistryLogin known;
  known.username = login.username;
  known.password = login.secret;
  known.identity_token = login.identity_token;
  auto client = TRY(engine::MakeRegistryClient(*engine.settings(), known));
  std::string name = parsed.Familiar();
  return std::unique_ptr<CachePlace>(
      std::make_unique<RegistryCache>(std::move(client), std::move(parsed), std::move(name), stop));
}

}  // namespace gantry::build
