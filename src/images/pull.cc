// SPDX-License-Identifier: Apache-2.0
#include "images/pull.h"

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "base/text.h"
#include "formats/reference.h"
#include "images/fetch_blob.h"
#include "images/layer_feed.h"
#include "images/unpack.h"

namespace gantry::images {
namespace {

class Puller {
 public:
  Puller(const Library& library, registry::Client& client, formats::Reference reference,
         const PullOptions& options)
      : library_(library),
        reference_(std::move(reference)),
        client_(client),
        options_(options),
        source_label_("containerd.io/distribution.source." + reference_.domain),
        fetcher_(library_, client_, reference_, options_.parallel_parts, failed_),
        supply_(library_.blobs) {}

  // The descriptor that the reference stands for, with everything for the platforms on disk and
  // unpacked.
  Result<oci::Descriptor> Run() {
    std::string what =
        reference_.digest.empty() ? reference_.tag : std::string(reference_.digest.text());
    library_.Report({"resolving", reference_.ToString(), 0, 0, {}});
    registry::ManifestDocument root =
        TRY(client_.GetManifest(reference_.domain, reference_.path, what, library_.stop));
    library_.Report({"resolved", reference_.ToString(), 0, 0, root.descriptor});
    TRY(Collect(root, 0));
    // Small, and the extraction needs them first.
    TRY(FetchAll(std::move(configs_), nullptr));
    TRY(FetchAndUnpack(root.descriptor));
    return root.descriptor;
  }

 private:
  // Stores a manifest, or an index with its manifests, and notes what they name.
  Result<> Collect(const registry::ManifestDocument& document, int depth) {
    if (!oci::IsIndex(document.descriptor.media_type)) {
      oci::Manifest manifest =
          TRY(oci::ParseManifest(document.text, document.descriptor.media_type));
      TRY(Store(document, ReferenceLabels(manifest)));
      configs_.push_back(manifest.config);
      layers_.insert(layers_.end(), manifest.layers.begin(), manifest.layers.end());
      return {};
    }
    if (depth == kMaxIndexDepth) return InvalidArgument("indexes within indexes");
    oci::Index index = TRY(oci::ParseIndex(document.text, document.descriptor.media_type));
    TRY(Store(document, ReferenceLabels(index)));
    std::vector<oci::Descriptor> chosen;
    for (const oci::Platform& platform : options_.platforms) {
      chosen.push_back(TRY(oci::SelectPlatform(index, platform)));
    }
    if (options_.platforms.empty()) chosen = index.manifests;
    for (const oci::Descriptor& one : Unique(std::move(chosen))) {
      registry::ManifestDocument inner = TRY(client_.GetManifest(reference_.domain, reference_.path,
                                                                 one.digest.text(), library_.stop));
      TRY(Collect(inner, depth + 1));
    }
    return {};
  }

  Result<> Store(const registry::ManifestDocument& document, Labels labels) {
    labels[source_label_] = TRY(SourceOf(document.descriptor.digest));
    return BringAndRecord(document.descriptor, labels, [&]() -> Result<> {
      TRY(content::PutBlob(*library_.blobs, library_.ns, document.text));
      return {};
    });
  }

  // Between its way to the disk and its record a blob is nobody's, and may be collected when others
  // remove the same one: then it is brought again.
  template <typename F>
  Result<> BringAndRecord(const oci::Descriptor& blob, const Labels& labels, F&& bring) {
    for (int attempt = 1;; ++attempt) {
      TRY(bring());
      auto recorded =
          library_.records->PutBlob({blob.digest, static_cast<uint64_t>(blob.size), labels});
      bool collected = !recorded.ok() && recorded.error().kind() == ErrorKind::kNotFound;
      if (!collected || attempt == kMaxBringAttempts) return recorded;
    }
  }

  static std::vector<oci::Descriptor> Unique(std::vector<oci::Descriptor> blobs) {
    std::vector<oci::Descriptor> unique;
    for (oci::Descriptor& blob : blobs) {
      auto same = [&](const oci::Descriptor& other) { return other.digest == blob.digest; };
      if (std::none_of(unique.begin(), unique.end(), same)) unique.push_back(std::move(blob));
    }
    return unique;
  }

  // Extraction in a thread of its own, which waits for the layers that this one brings.
  Result<> FetchAndUnpack(const oci::Descriptor& target) {
    for (const oci::Descriptor& layer : layers_) supply_.AddFeed(layer.digest);
    std::thread unpacking;
    if (!options_.unpack.empty()) {
      unpacking = std::thread([&] {
        auto unpacked = UnpackAll(target);
        if (!unpacked.ok()) Fail(std::move(unpacked).error());
      });
    }
    auto fetched = FetchAll(std::move(layers_), &supply_);
    supply_.FinishAll(fetched.ok() ? MakeError(ErrorKind::kCancelled, "the pull ended")
                                   : Error(fetched.error()));
    if (unpacking.joinable()) unpacking.join();
    MutexLock lock(mutex_);
    if (error_) return std::move(*error_);
    return {};
  }

  Result<> UnpackAll(const oci::Descriptor& target) {
    for (const UnpackInto& into : options_.unpack) {
      TRY(Unpack(library_, *into.snapshotter, target, into.platform, {&supply_}));
    }
    return {};
  }

  // The first error is the one that counts; the others follow from it.
  void Fail(Error error) {
    MutexLock lock(mutex_);
    if (!error_) error_ = std::move(error);
    failed_ = true;
  }

  // The same layer twice is fetched once. Every feed of `supply` is finished.
  Result<> FetchAll(std::vector<oci::Descriptor> blobs, LayerSupply* supply) {
    std::vector<oci::Descriptor> unique = Unique(std::move(blobs));
    for (const oci::Descriptor& blob : unique) {
      if (library_.blobs->Stat(blob.digest).ok()) continue;  // nothing to wait for
      library_.Report({"waiting", blob.digest.text(), 0, static_cast<uint64_t>(blob.size), blob});
    }
    std::atomic<size_t> next{0};
    auto work = [&] {
      for (size_t i = next++; i < unique.size() && !failed_; i = next++) {
        LayerFeed* feed = supply == nullptr ? nullptr : supply->AddFeed(unique[i].digest);
        auto fetched = Fetch(unique[i], feed);
        if (!fetched.ok()) {
          fetched.error().AddContext(fmt::format("fetching {}", unique[i].digest.text()));
          Fail(Error(fetched.error()));
        }
        if (feed != nullptr) feed->Finish(std::move(fetched));
      }
    };
    size_t count =
        std::min<size_t>(static_cast<size_t>(std::max(1, options_.parallel_layers)), unique.size());
    std::vector<std::thread> threads;
    for (size_t i = 1; i < count; ++i) threads.emplace_back(work);
    work();
    for (std::thread& thread : threads) thread.join();
    MutexLock lock(mutex_);
    if (error_) return Error(*error_);
    return {};
  }

  Result<> Fetch(const oci::Descriptor& blob, LayerFeed* feed) {
    auto size = static_cast<uint64_t>(blob.size);
    Labels labels;
    labels[source_label_] = TRY(SourceOf(blob.digest));
    auto recorded = library_.records->PutBlob({blob.digest, size, labels});
    if (recorded.ok()) {
      library_.Report({"already exists", blob.digest.text(), size, size, blob});
      return {};
    }
    if (recorded.error().kind() != ErrorKind::kNotFound) return recorded;
    TRY(BringAndRecord(blob, labels, [&] { return fetcher_.Fetch(blob, feed); }));
    library_.Report({"complete", blob.digest.text(), size, size, blob});
    return {};
  }

  // The repositories of this registry that are known to have the blob, this one among them.
  Result<std::string> SourceOf(const formats::Digest& digest) {
    auto known = TRY(library_.records->FindBlob(digest));
    if (!known) return reference_.path;
    auto label = known->labels.find(source_label_);
    if (label == known->labels.end() || label->second.empty()) return reference_.path;
    std::vector<std::string> repositories = Split(label->second, ',');
    if (std::find(repositories.begin(), repositories.end(), reference_.path) !=
        repositories.end()) {
      return label->second;
    }
    // Labels have a limit; the newest source is the one that surely has it.
    if (label->second.size() + reference_.path.size() > kMaxSourceBytes) return reference_.path;
    return label->second + "," + reference_.path;
  }

  static constexpr size_t kMaxSourceBytes = 1024;
  static constexpr int kMaxBringAttempts = 20;

  const Library& library_;
  const formats::Reference reference_;
  registry::Client& client_;
  const PullOptions& options_;
  const std::string source_label_;
  std::atomic<bool> failed_{false};
  const BlobFetcher fetcher_;
  LayerSupply supply_;
  std::vector<oci::Descriptor> configs_;
  std::vector<oci::Descriptor> layers_;
  Mutex mutex_;
  std::optional<Error> error_ GUARDED_BY(mutex_);
};

}  // namespace

Result<ImageRecord> Pull(const Library& library, registry::Client& client,
                         const std::string& reference, const std::string& name,
                         const PullOptions& options) {
  formats::Reference parsed = formats::WithDefaultTag(TRY(formats::ParseReference(reference)));
  ImageRecord image;
  image.name = name;
  image.target =
      TRY_WITH(Puller(library, client, parsed, options).Run(), "pulling '{}'", parsed.Familiar());
  TRY_WITH(library.records->PutImage(image), "recording image '{}'", name);
  library.Report({"saved", name, 0, 0, image.target});
  return image;
}

}  // namespace gantry::images
