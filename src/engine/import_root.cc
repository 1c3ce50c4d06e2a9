// SPDX-License-Identifier: Apache-2.0
//
// POST /images/create?fromSrc=: an image of one layer from a tar of a root directory, which comes
// with the request or from a web server.
#include <fcntl.h>
#include <unistd.h>

#include <utility>

#include "engine/event.h"
#include "engine/image_changes.h"
#include "engine/image_instructions.h"
#include "engine/new_image.h"
#include "formats/compression/compression.h"
#include "formats/digest.h"
#include "registry/download.h"

namespace gantry::engine {
namespace {

class BlobSink : public ByteSink {
 public:
  explicit BlobSink(client::BlobWriter& blob) : blob_(blob) {}
  Result<> Write(std::string_view data) override { return blob_.Write(data); }

 private:
  client::BlobWriter& blob_;
};

// Stored with gzip, whatever it came with.
Result<NewLayer> StoreLayer(const Lease& lease, ByteSource& archive) {
  auto plain = TRY(formats::compression::Decompress(archive));
  formats::HashingSource hashed(*plain);
  auto blob = TRY(lease.OpenBlob());
  BlobSink sink(*blob);
  formats::compression::GzipSink gzip(sink);
  TRY(CopyAll(hashed, gzip));
  TRY(gzip.Finish());
  NewLayer layer;
  layer.diff_id = hashed.Current().text();
  layer.blob = TRY(blob->Commit({{"containerd.io/uncompressed", layer.diff_id}}));
  layer.blob.media_type = oci::kOciLayerGzip;
  return layer;
}

// "example.com/root.tar" is "http://example.com/root.tar". Only a host's name can stand first.
Result<std::string> ImportUrl(const std::string& source) {
  std::string url = source.find("://") == std::string::npos ? "http://" + source : source;
  std::string_view authority = std::string_view(url).substr(url.find("://") + 3);
  authority = authority.substr(0, authority.find_first_of("/?#"));
  bool web = url.starts_with("http://") || url.starts_with("https://");
  if (!web || authority.empty() || authority.find('%') != std::string_view::npos) {
    return InvalidArgument("invalid URL to import from: '{}'", source);
  }
  return url;
}

}  // namespace

Result<UniqueFd> DownloadRoot(Engine& engine, const std::string& source, std::string* url,
                              const StopToken& stop) {
  *url = TRY(ImportUrl(source));
  const std::string& root = engine.options().root;
  UniqueFd file(::open(root.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (!file.valid()) return ErrnoError("making a file in '{}'", root);
  FdSink sink(file);
  TRY(registry::Download(*url, [&](std::string_view data) { return sink.Write(data); }, stop));
  if (::lseek(file.get(), 0, SEEK_SET) < 0) return ErrnoError("rewinding a download");
  return file;
}

Result<std::string> ImportRoot(Engine& engine, const ImportRequest& request, ByteSource& archive) {
  NewImage image;
  image.name = TRY(NewImageName(request.repository, request.tag));
  image.platform = request.platform.empty()
                       ? oci::HostPlatform()
                       : oci::Normalize(TRY(oci::ParsePlatform(request.platform)));
  ContainerConfig config;
  TRY(ApplyChanges(request.changes, &config));
  image.config = ImageConfig(config);
  image.comment = request.message;
  Lease lease = TRY(Lease::Take(engine.containerd()));
  image.layer = TRY(StoreLayer(lease, archive));
  std::string id = TRY(MakeImage(engine, lease, image));
  engine.Publish(
      ImageEvent("import", id, id, formats::Json::MakeObject({{"config", image.config}})));
  return id;
}

}  // namespace gantry::engine
