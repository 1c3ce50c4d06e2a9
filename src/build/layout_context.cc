// SPDX-License-Identifier: Apache-2.0
//
// Contexts that are an image in a layout of the client's (oci-layout://STORE@DIGEST): read over the
// session and imported under a name that goes with the build.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "base/byte_stream.h"
#include "base/log.h"
#include "base/random.h"
#include "build/builder.h"
#include "formats/json.h"
#include "formats/tar.h"
#include "oci/image_spec.h"

namespace gantry::build {
namespace {

using formats::Json;

struct LayoutReference {
  std::string store;
  formats::Digest digest;
};

// "STORE:TAG@DIGEST", where the tag says nothing.
Result<LayoutReference> ParseLayoutReference(const std::string& text) {
  size_t at = text.find('@');
  if (at == std::string::npos) {
    return InvalidArgument("oci-layout reference \"{}\" has no digest", text);
  }
  std::string store = text.substr(0, at);
  size_t colon = store.rfind(':');
  bool tagged = colon != std::string::npos && store.find('/', colon) == std::string::npos;
  if (tagged) store.resize(colon);
  return LayoutReference{std::move(store), TRY_WITH(formats::Digest::Parse(text.substr(at + 1)),
                                                    "invalid oci-layout reference \"{}\"", text)};
}

// Writes the image as the archive that the container daemon imports, which checks every digest
// itself.
class LayoutWriter {
 public:
  LayoutWriter(const BuildRequest& request, LayoutReference reference, oci::Platform platform)
      : request_(request), reference_(std::move(reference)), platform_(std::move(platform)) {}

  Result<> Write(ByteSink& sink) const {
    std::string text = TRY(Document(reference_.digest));
    formats::Digest digest = reference_.digest;
    Json json = TRY(Json::Parse(text));
    if (!json["manifests"].is_null()) {
      oci::Index index = TRY(oci::ParseIndex(text, ""));
      digest = TRY(oci::SelectPlatform(index, platform_)).digest;
      text = TRY(Document(digest));
    }
    oci::Manifest manifest = TRY(oci::ParseManifest(text, ""));
    formats::TarWriter tar(sink);
    Json entry = Json::MakeObject({{"mediaType", manifest.media_type},
                                   {"digest", digest.text()},
                                   {"size", static_cast<int64_t>(text.size())}});
    Json list = Json::MakeArray();
    list.Append(std::move(entry));
    Json index = Json::MakeObject({{"schemaVersion", 2}, {"manifests", std::move(list)}});
    TRY(WriteText(tar, "oci-layout", R"({"imageLayoutVersion":"1.0.0"})"));
    TRY(WriteText(tar, "index.json", index.Dump()));
    TRY(WriteText(tar, PathOf(digest), text));
    TRY(WriteText(tar, PathOf(manifest.config.digest), TRY(Document(manifest.config.digest))));
    for (const oci::Descriptor& layer : manifest.layers) TRY(WriteLayer(tar, layer));
    return tar.Finish();
  }

 private:
  static std::string PathOf(const formats::Digest& digest) {
    std::string path = "blobs/" + digest.text();
    path[path.find(':')] = '/';
    return path;
  }
  static Result<> WriteText(formats::TarWriter& tar, const std::string& name,
                            const std::string& text) {
    formats::TarEntry entry;
    entry.name = name;
    return tar.WriteFile(std::move(entry), text);
  }

  Result<std::string> Document(const formats::Digest& digest) const {
    std::string text;
    auto take = [&](std::string_view piece) -> Result<> {
      text += piece;
      if (text.size() <= oci::kMaxDocumentBytes) return {};
      return MakeError(ErrorKind::kResourceExhausted, "the client's {} is too large",
                       digest.text());
    };
    TRY(request_.read_blob(reference_.store, digest.text(), take));
    if (formats::Digest::Of(text).text() == digest.text()) return text;
    return InvalidArgument("what the client sent for {} has another digest", digest.text());
  }

  Result<> WriteLayer(formats::TarWriter& tar, const oci::Descriptor& layer) const {
    formats::TarEntry entry;
    entry.name = PathOf(layer.digest);
    entry.size = static_cast<uint64_t>(layer.size);
    uint64_t left = entry.size;
    TRY(tar.WriteHeader(entry));
    auto take = [&](std::string_view piece) -> Result<> {
      if (piece.size() > left) {
        return InvalidArgument("the client's layer {} is larger than it says", layer.digest.text());
      }
      left -= piece.size();
      return tar.WriteData(piece);
    };
    TRY(request_.read_blob(reference_.store, layer.digest.text(), take));
    if (left == 0) return {};
    return InvalidArgument("the client's layer {} is smaller than it says", layer.digest.text());
  }

  const BuildRequest& request_;
  const LayoutReference reference_;
  const oci::Platform platform_;
};

}  // namespace

Result<std::string> Builder::ImportLayout(const std::string& text) {
  LayoutReference reference = TRY(ParseLayoutReference(text));
  oci::Platform platform = oci::HostPlatform();
  if (!request_.platform.empty()) platform = TRY(oci::ParsePlatform(request_.platform));
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return ErrnoError("making a pipe");
  UniqueFd from(ends[0]);
  UniqueFd to(ends[1]);
  LayoutWriter writer(request_, std::move(reference), platform);
  auto written = engine_.workers().Async([&]() -> Result<> {
    FdSink sink{BorrowedFd(to)};
    Result<> result = writer.Write(sink);
    to.Reset();
    return result;
  });
  auto read = [&](char* buffer, size_t size) -> Result<size_t> {
    for (;;) {
      ssize_t got = ::read(from.get(), buffer, size);
      if (got >= 0) return static_cast<size_t>(got);
      if (errno != EINTR) return ErrnoError("reading the client's image");
    }
  };
  auto names = engine_.containerd().Import(read, std::string(kLayoutPrefix) + RandomHex(8),
                                           engine_.options().snapshotter, {platform}, {}, stop_);
  // A writer that still writes must not wait for ever.
  from.Reset();
  Result<> sent = written.get();
  if (names.ok()) {
    MutexLock lock(common_->mutex);
    for (const std::string& name : *names) common_->layout_names.push_back(name);
  }
  if (!sent.ok() && sent.error().error_number() != EPIPE) return std::move(sent).error();
  if (!names.ok()) return std::move(names).error();
  if (names->empty()) return NotFound("the client's image {} is none", text);
  return names->front();
}

Result<engine::NamedImage> Builder::ImageOfLayout(const std::string& text) {
  const std::string& name = *TRY(common_->layouts.Get(text, stop_, [&]() -> Result<std::string> {
    return TRY_WITH(ImportLayout(text), "oci-layout://{}", text);
  }));
  engine::NamedImage image;
  image.image = TRY(engine_.containerd().GetImage(name));
  image.documents = TRY(engine_.images().Documents(image.image.target));
  auto hold = engine_.image_holds().Take(image.documents->id);
  if (!hold) return NotFound("image {} is being removed", image.documents->id);
  MutexLock lock(common_->mutex);
  common_->holds.push_back(*std::move(hold));
  return image;
}

}  // namespace gantry::build
