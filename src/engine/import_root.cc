// SPDX-License-Identifier: Apache-2.0
//
// POST /images/create?fromSrc=: an image of one layer from a tar of a root directory.
#include <utility>

#include "engine/image_changes.h"
#include "engine/new_image.h"
#include "formats/compression/compression.h"
#include "formats/digest.h"

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
Result<NewLayer> StoreLayer(Engine& engine, const Lease& lease, ByteSource& archive) {
  auto plain = TRY(formats::compression::Decompress(archive));
  formats::HashingSource hashed(*plain);
  auto blob = TRY(engine.containerd().OpenBlob(lease.id()));
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

}  // namespace

Result<std::string> ImportRoot(Engine& engine, const ImportRequest& request, ByteSource& archive) {
  NewImage image;
  image.name = TRY(NewImageName(request.repository, request.tag));
  image.platform = request.platform.empty()
                       ? oci::HostPlatform()
                       : oci::Normalize(TRY(oci::ParsePlatform(request.platform)));
  ContainerConfig config;
  TRY(ApplyChanges(request.changes, &config));
  image.config = ToJson(config);
  image.comment = request.message;
  Lease lease = TRY(Lease::Take(engine.containerd()));
  image.layer = TRY(StoreLayer(engine, lease, archive));
  return MakeImage(engine, lease, image);
}

}  // namespace gantry::engine
