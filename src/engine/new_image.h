// SPDX-License-Identifier: Apache-2.0
//
// Images that the engine makes itself: commit, import, build. Everything is made under a lease of
// the container daemon, so that its collector leaves it alone until the image's record names it,
// and what a crash leaves is collected a day later. Any thread.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "base/byte_stream.h"
#include "base/error.h"
#include "base/stop_token.h"
#include "base/unique_fd.h"
#include "client/containerd.h"
#include "engine/config.h"
#include "engine/engine.h"
#include "oci/image_spec.h"

namespace gantry::engine {

// Ends with the object.
class Lease {
 public:
  // One of a daemon that is gone ends with the next one's start, and expires after a day.
  static Result<Lease> Take(client::Containerd& containerd);
  // Those of a daemon before, if none of this one's was taken yet.
  static Result<std::vector<std::string>> ListOfBefore(client::Containerd& containerd);
  // With what was being written under it, whether either is still there.
  static Result<> End(client::Containerd& containerd, const std::string& id);
  // One that does not expire: whoever takes it finds it again by the beginning of its id.
  static Result<Lease> TakeLasting(client::Containerd& containerd, std::string_view prefix);
  Lease(Lease&& other) noexcept
      : containerd_(std::exchange(other.containerd_, nullptr)),
        id_(std::move(other.id_)),
        writes_(other.writes_) {}
  Lease& operator=(Lease&&) = delete;
  ~Lease();
  const std::string& id() const { return id_; }
  // What is written and not committed goes with the lease.
  Result<std::unique_ptr<client::BlobWriter>> OpenBlob() const;
  Result<client::Descriptor> DiffMounts(const std::vector<client::Mount>& left,
                                        const std::vector<client::Mount>& right,
                                        std::optional<int64_t> newest) const;
  // It lives on without the object.
  void Keep() { containerd_ = nullptr; }

 private:
  Lease(client::Containerd* containerd, std::string id)
      : containerd_(containerd), id_(std::move(id)) {}
  client::Containerd* containerd_;
  std::string id_;
  mutable bool writes_ = false;  // since then there may be something to abort
};

struct NewLayer {
  client::Descriptor blob;
  std::string diff_id;  // of the uncompressed tar
};

// What the writable snapshot `key` has that its parent has not; nothing when that is nothing.
// No time in it is later than `newest`, seconds since 1970.
Result<std::optional<NewLayer>> DiffSnapshot(Engine& engine, const Lease& lease,
                                             const std::string& key, const std::string& parent,
                                             std::optional<int64_t> newest = std::nullopt);

// What the chain `to` has that the chain `from` ("": nothing) has not, over any number of layers.
Result<std::optional<NewLayer>> DiffCommitted(Engine& engine, const Lease& lease,
                                              const std::string& from, const std::string& to);

// The name of the snapshot after `layer` is on top of `parent` (image-spec, "Layer ChainID").
std::string ChainId(const std::string& parent, const std::string& layer);

// Makes the snapshot of a layer on top of the one of `parent`, a chain id.
Result<> UnpackLayer(Engine& engine, const Lease& lease, const std::string& parent,
                     const NewLayer& layer);

// A document that is written, or will be.
client::Descriptor DescriptorOf(std::string_view media_type, const std::string& text);
// image-spec, "OCI Content Descriptors".
formats::Json DescriptorJson(const client::Descriptor& blob);

// Of a manifest or a descriptor (image-spec, "Annotations").
using Annotations = std::map<std::string, std::string>;

// The manifest of an image with that configuration and those layers, the base's first.
formats::Json ManifestOf(const client::Descriptor& config,
                         const std::vector<client::Descriptor>& layers,
                         const Annotations& annotations = {});

// Gives what is in the store these names; none: it becomes an image without one. Images that lose
// their last name so become nameless.
Result<> NameImage(client::Containerd& containerd, const client::Descriptor& target,
                   std::vector<std::string> names);

// An image whose layers are in the store, unpacked.
struct ImageParts {
  formats::Json config;                    // the whole document
  std::vector<client::Descriptor> layers;  // the base's first
  std::string chain_id;                    // of the last layer's snapshot; "" without layers
  std::vector<std::string> names;          // in the store; none: an image without a name
  Annotations annotations;                 // of the manifest
  std::string parent;                      // id of the image whose container was committed
};

// The label of a configuration that says it.
inline constexpr const char* kParentLabel = "gantry.image.parent";

// Writes configuration, manifest and records. Returns the image's id.
Result<std::string> StoreImage(Engine& engine, const Lease& lease, const ImageParts& parts);

struct NewImage {
  const ImageDocuments* parent = nullptr;  // whose layers come first
  std::optional<NewLayer> layer;
  formats::Json config;  // the "config" object
  oci::Platform platform;
  std::string author;
  std::string created_by;
  std::string comment;
  std::string name;  // in the store; "" for an image without one
};
// Writes configuration, manifest and record, and unpacks the layer. Returns the image's id.
Result<std::string> MakeImage(Engine& engine, const Lease& lease, const NewImage& image);

struct CommitRequest {
  std::string container;
  std::string repository;
  std::string tag;
  std::string author;
  std::string comment;
  bool pause = true;
  std::vector<std::string> changes;
  std::optional<ContainerConfig> config;  // instead of the container's
};
Result<std::string> CommitContainer(Engine& engine, CommitRequest request);

struct ImportRequest {
  std::string repository;
  std::string tag;
  std::string message;
  std::string platform;
  std::vector<std::string> changes;
};
// `archive` is a tar of a root directory, compressed or not.
Result<std::string> ImportRoot(Engine& engine, const ImportRequest& request, ByteSource& archive);

// Fetches such a tar into a file without a name; `url` is the whole URL of `source`. Errors have
// the kind of the server's answer.
Result<UniqueFd> DownloadRoot(Engine& engine, const std::string& source, std::string* url,
                              const StopToken& stop);

// The name in the store of "repository" and "tag"; "" for no repository. kInvalidArgument.
Result<std::string> NewImageName(const std::string& repository, const std::string& tag);

}  // namespace gantry::engine
