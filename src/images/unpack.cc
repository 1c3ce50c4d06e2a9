// SPDX-License-Identifier: Apache-2.0
#include "images/unpack.h"

#include <algorithm>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "images/staged_layer.h"

namespace gantry::images {
namespace {

constexpr std::string_view kUncompressed = "containerd.io/uncompressed";

// One writes files while another one decompresses; more would only compete for the disk.
constexpr size_t kExtractionsAtOnce = 2;

struct Layer {
  oci::Descriptor descriptor;
  formats::Digest diff_id;
  std::string chain_id;
  std::string parent;  // chain id of the layer below
};

// The layers of an image that are not there yet, one on the other. Where the snapshotter can rebase
// the next ones are extracted while one is; they are committed in their order all the same.
class LayerStack {
 public:
  LayerStack(const Library& library, snapshots::Snapshotter& snapshotter, LayerSources sources,
             std::vector<Layer> layers)
      : library_(library),
        snapshotter_(snapshotter),
        sources_(sources),
        layers_(std::move(layers)),
        staged_(layers_.size()) {
    if (!snapshotter_.CanRebase()) return;
    for (size_t i = 1; i < std::min(layers_.size(), kExtractionsAtOnce); ++i) {
      threads_.emplace_back([this] { Work(); });
    }
  }
  ~LayerStack() {
    {
      MutexLock lock(mutex_);
      stop_ = true;
    }
    for (std::thread& thread : threads_) thread.join();
  }
  LayerStack(const LayerStack&) = delete;
  LayerStack& operator=(const LayerStack&) = delete;

  Result<> CommitAll() {
    for (size_t i = 0; i < layers_.size(); ++i) {
      const Layer& layer = layers_[i];
      const std::string& digest = layer.descriptor.digest.text();
      auto size = static_cast<uint64_t>(layer.descriptor.size);
      library_.Report({"extracting", digest, 0, size, layer.descriptor});
      TRY_WITH(Commit(i), "unpacking layer {}", digest);
      TRY(library_.records->PutBlob(
          {layer.descriptor.digest, size, {{std::string(kUncompressed), layer.diff_id.text()}}}));
      library_.Report({"extracted", digest, size, size, layer.descriptor});
    }
    return {};
  }

 private:
  using Staged = Result<std::unique_ptr<StagedLayer>>;

  Result<> Commit(size_t index) {
    const Layer& layer = layers_[index];
    auto staged = TRY(Await(index));
    // What was extracted may have been read before its digest was known.
    TRY(sources_.supply->Await(layer.descriptor.digest));
    const formats::Digest& hashed = staged->diff_id();
    const formats::Digest& diff_id = hashed.empty() ? layer.descriptor.digest : hashed;
    if (diff_id != layer.diff_id) {
      return MakeError(ErrorKind::kDataLoss,
                       "its uncompressed digest is {}, the image's configuration says {}",
                       diff_id.text(), layer.diff_id.text());
    }
    return staged->Commit(layer.parent, layer.chain_id);
  }

  // This layer; while others extract it, this thread extracts the next one that nobody has begun.
  Staged Await(size_t index) {
    for (;;) {
      {
        MutexLock lock(mutex_);
        if (staged_[index]) return *std::exchange(staged_[index], std::nullopt);
        bool ahead = snapshotter_.CanRebase() && !stop_ && next_ < layers_.size();
        if (next_ > index && !ahead) {
          changed_.Wait(mutex_);
          continue;
        }
      }
      ExtractNext();
    }
  }

  void Work() {
    while (ExtractNext()) {
    }
  }

  // False: there is nothing left to begin.
  bool ExtractNext() {
    size_t index = 0;
    {
      MutexLock lock(mutex_);
      if (stop_ || next_ == layers_.size()) return false;
      index = next_++;
    }
    Staged staged = Extract(layers_[index]);
    MutexLock lock(mutex_);
    // Those after it are not needed then.
    if (!staged.ok()) stop_ = true;
    staged_[index].emplace(std::move(staged));
    changed_.NotifyAll();
    return true;
  }

  Staged Extract(const Layer& layer) {
    if (sources_.early != nullptr) {
      auto early = sources_.early->Take(snapshotter_, layer.descriptor.digest);
      if (early != nullptr) return early;
    }
    Staged staged = ExtractOnce(layer);
    if (staged.ok()) return staged;
    // What is wrong with the layer's bytes explains what its extraction stumbled over.
    TRY(sources_.supply->Await(layer.descriptor.digest));
    if (staged.error().kind() != ErrorKind::kAborted) return staged;
    // The download began anew under the extraction; by now it is whole.
    return ExtractOnce(layer);
  }

  Staged ExtractOnce(const Layer& layer) {
    LayerBytes bytes = TRY(sources_.supply->Open(layer.descriptor.digest));
    bool plain = layer.descriptor.digest == layer.diff_id;
    Hashing hashing = bytes.hashed && plain ? Hashing::kNone : Hashing::kWhole;
    const std::string& parent = snapshotter_.CanRebase() ? std::string() : layer.parent;
    return StagedLayer::Extract(library_, snapshotter_, parent, {std::move(bytes), hashing});
  }

  const Library& library_;
  snapshots::Snapshotter& snapshotter_;
  const LayerSources sources_;
  const std::vector<Layer> layers_;
  Mutex mutex_;
  CondVar changed_;
  std::vector<std::optional<Staged>> staged_ GUARDED_BY(mutex_);
  size_t next_ GUARDED_BY(mutex_) = 0;
  bool stop_ GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

// How many layers from the base on are there already.
Result<size_t> CountUnpacked(const Library& library, snapshots::Snapshotter& snapshotter,
                             const std::vector<formats::Digest>& chain) {
  for (size_t count = chain.size(); count > 0; --count) {
    auto record = snapshotter.Stat(library.ns, chain[count - 1].text());
    if (record.ok()) return count;
    if (record.error().kind() != ErrorKind::kNotFound) return std::move(record).error();
  }
  return 0;
}

}  // namespace

Result<Unpacked> Unpack(const Library& library, snapshots::Snapshotter& snapshotter,
                        const oci::Descriptor& target, const oci::Platform& wanted) {
  LayerSupply supply(library.blobs);
  return Unpack(library, snapshotter, target, wanted, LayerSources{&supply});
}

Result<Unpacked> Unpack(const Library& library, snapshots::Snapshotter& snapshotter,
                        const oci::Descriptor& target, const oci::Platform& wanted,
                        const LayerSources& sources) {
  ResolvedManifest resolved = TRY(ResolveManifest(*library.blobs, target, wanted));
  const oci::Manifest& manifest = resolved.manifest;
  // An artifact is kept as it came: there is nothing that a container could run on.
  if (!oci::IsConfig(manifest.config.media_type)) {
    return Unpacked{"", resolved.descriptor, manifest.config};
  }
  std::string text = TRY(library.blobs->ReadBlob(manifest.config.digest, oci::kMaxDocumentBytes));
  oci::ImageConfig config = TRY(oci::ParseImageConfig(text));
  if (!config.platform.os.empty() && config.platform.os != wanted.os) {
    return FailedPrecondition("image operating system '{}' cannot be used on this platform",
                              config.platform.os);
  }
  if (config.diff_ids.size() != manifest.layers.size()) {
    return InvalidArgument("unpacking {}: {} layers, but the configuration names {}",
                           resolved.descriptor.digest.text(), manifest.layers.size(),
                           config.diff_ids.size());
  }
  std::vector<formats::Digest> chain = oci::ChainIds(config.diff_ids);
  for (const formats::Digest& chain_id : chain) {
    TRY(library.records->KeepSnapshot(snapshotter.name(), chain_id.text()));
  }
  size_t first = TRY(CountUnpacked(library, snapshotter, chain));
  for (size_t i = 0; i < first; ++i) {
    const oci::Descriptor& there = manifest.layers[i];
    auto size = static_cast<uint64_t>(there.size);
    library.Report({"already exists", there.digest.text(), size, size, there});
  }
  std::vector<Layer> missing;
  for (size_t i = first; i < chain.size(); ++i) {
    missing.push_back({manifest.layers[i], config.diff_ids[i], chain[i].text(),
                       i == 0 ? "" : chain[i - 1].text()});
  }
  TRY(LayerStack(library, snapshotter, sources, std::move(missing)).CommitAll());
  Unpacked unpacked{chain.empty() ? "" : chain.back().text(), resolved.descriptor, manifest.config};
  if (!chain.empty()) {
    // Keeps the snapshots for as long as the image's configuration is kept.
    std::string label = fmt::format("containerd.io/gc.ref.snapshot.{}", snapshotter.name());
    TRY(library.records->PutBlob({manifest.config.digest,
                                  static_cast<uint64_t>(manifest.config.size),
                                  {{label, unpacked.chain_id}}}));
  }
  return unpacked;
}

}  // namespace gantry::images
