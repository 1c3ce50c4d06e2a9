// SPDX-License-Identifier: Apache-2.0
//
// docker's verbs on images over the container daemon's stores: tag, remove, load, save, pull. What
// is only read is ImageIndex's. Any thread; load, save and pull take as long as they take.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/byte_stream.h"
#include "base/error.h"
#include "base/stop_token.h"
#include "client/containerd.h"
#include "engine/engine.h"
#include "formats/reference.h"

namespace gantry::engine {

// Gives the image another name.
Result<> TagImage(Engine& engine, std::string_view reference, std::string_view repository,
                  std::string_view tag);

struct RemovedImage {
  bool deleted = false;  // else only untagged
  std::string name;      // of an untagged one, as users see it; of a deleted one its id
};
// `reference`: a name removes that name, an id all names (with `force`, or when there is only one).
// kAborted in docker's words when a container stands in the way. With `platforms` only these go, of
// an image that has others here.
Result<std::vector<RemovedImage>> RemoveImage(Engine& engine, std::string_view reference,
                                              bool force,
                                              const std::vector<oci::Platform>& platforms = {});

// A docker or OCI archive, compressed or not. Returns the names, as users see them, that now exist;
// of images without a name their ids. `platforms`: of indexes only these are kept. kNotFound: an
// index has none of them, then nothing was loaded; or an image that is no index is another's.
Result<std::vector<std::string>> LoadImages(Engine& engine, ByteSource& archive,
                                            const std::vector<oci::Platform>& platforms,
                                            const client::ProgressCallback& progress,
                                            const StopToken& stop);
// No platforms: the host's, or all when an image has not that one.
Result<> SaveImages(Engine& engine, const std::vector<std::string>& references,
                    const std::vector<oci::Platform>& platforms, ByteSink& out,
                    const StopToken& stop);

struct PullImageRequest {
  std::string repository;
  std::string tag;       // a tag or digest; "" is latest
  std::string platform;  // "os/arch[/variant]", "" for the host's
  std::optional<client::Credentials> credentials;
};
// Returns the name as users see it.
Result<std::string> PullImage(Engine& engine, const PullImageRequest& request,
                              const client::ProgressCallback& progress, const StopToken& stop);

struct PushImageRequest {
  formats::Reference name;  // with a tag or a digest
  std::optional<oci::Platform> platform;
  std::optional<client::Credentials> credentials;
};
struct PushedImage {
  std::string tag;
  std::string digest;
  int64_t size = 0;  // of the manifest
};
// kNotFound in docker's words when there is no image of that name.
Result<PushedImage> PushImage(Engine& engine, const PushImageRequest& request,
                              const client::ProgressCallback& progress, const StopToken& stop);
// An image that came as blobs alone, as one that was pushed into the store, gets its snapshots.
Result<> EnsureUnpacked(Engine& engine, const NamedImage& image);
// Every name with a tag that the repository has here.
Result<std::vector<formats::Reference>> TagsOfRepository(Engine& engine,
                                                         const formats::Reference& repository);

// "busybox:latest" of "docker.io/library/busybox:latest".
std::string FamiliarName(std::string_view store_name);

}  // namespace gantry::engine
