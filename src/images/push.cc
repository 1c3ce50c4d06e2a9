// SPDX-License-Identifier: Apache-2.0
#include "images/push.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <set>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "base/text.h"
#include "formats/json.h"
#include "formats/reference.h"

namespace gantry::images {
namespace {

using registry::Client;

constexpr int kMaxAttempts = 5;
constexpr std::chrono::milliseconds kFirstPause{100};  // doubled for each later attempt
constexpr uint64_t kReportBytes = uint64_t{512} << 10;

// Layers that their makers don't want to be copied stay where they are (image-spec, layer.md,
// "Non-Distributable Layers").
bool MayBePushed(const oci::Descriptor& layer) {
  return layer.media_type.find("nondistributable") == std::string::npos &&
         layer.media_type.find(".foreign.") == std::string::npos;
}

class Pusher {
 public:
  Pusher(const Library& library, Client& client, formats::Reference reference,
         const PushOptions& options)
      : library_(library),
        client_(client),
        reference_(std::move(reference)),
        options_(options),
        source_label_("containerd.io/distribution.source." + reference_.domain) {}

  Result<> Run(oci::Descriptor target) {
    std::vector<oci::Descriptor> chosen;
    for (const oci::Platform& platform : options_.platforms) {
      chosen.push_back(TRY(ResolveManifest(*library_.blobs, target, platform)).descriptor);
    }
    if (chosen.size() > 1 && oci::IsIndex(target.media_type)) {
      target = TRY(CollectChosen(target, chosen));
    } else {
      if (!chosen.empty()) target = chosen.front();
      TRY(Collect(target, 0));
    }
    library_.Report({"pushing content", reference_.ToString(), 0, 0, target});
    TRY(PushBlobs());
    for (size_t i = 0; i < manifests_.size(); ++i) {
      bool root = i + 1 == manifests_.size();
      TRY(PushManifest(manifests_[i], root));
    }
    library_.Report({"pushed content", reference_.ToString(), 0, 0, target});
    return {};
  }

 private:
  // What an index names comes before it.
  Result<> Collect(const oci::Descriptor& descriptor, int depth) {
    if (!seen_.insert(descriptor.digest).second) return {};
    TRY(Keep(descriptor.digest));
    std::string text = TRY(library_.blobs->ReadBlob(descriptor.digest, oci::kMaxDocumentBytes));
    if (oci::IsIndex(descriptor.media_type)) {
      if (depth == kMaxIndexDepth) return InvalidArgument("indexes within indexes");
      oci::Index index = TRY(oci::ParseIndex(text, descriptor.media_type));
      for (const oci::Descriptor& inner : index.manifests) TRY(Collect(inner, depth + 1));
    } else {
      oci::Manifest manifest = TRY(oci::ParseManifest(text, descriptor.media_type));
      manifest.layers.push_back(manifest.config);
      for (oci::Descriptor& blob : manifest.layers) {
        if (!MayBePushed(blob) || !seen_.insert(blob.digest).second) continue;
        TRY(Keep(blob.digest));
        blobs_.push_back(std::move(blob));
      }
    }
    registry::ManifestDocument document{descriptor, std::move(text)};
    document.descriptor.size = static_cast<int64_t>(document.text.size());
    manifests_.push_back(std::move(document));
    return {};
  }

  // Only these manifests of an index, in its order, and the index without the others. Returns what
  // the index is then.
  Result<oci::Descriptor> CollectChosen(const oci::Descriptor& target,
                                        const std::vector<oci::Descriptor>& chosen) {
    TRY(Keep(target.digest));
    std::string text = TRY(library_.blobs->ReadBlob(target.digest, oci::kMaxDocumentBytes));
    oci::Index index = TRY(oci::ParseIndex(text, target.media_type));
    formats::Json document = TRY(formats::Json::Parse(text));
    auto is_chosen = [&](const formats::Digest& digest) {
      return std::any_of(chosen.begin(), chosen.end(),
                         [&](const oci::Descriptor& one) { return one.digest == digest; });
    };
    formats::Json kept = formats::Json::MakeArray();
    for (size_t i = 0; i < index.manifests.size(); ++i) {
      if (!is_chosen(index.manifests[i].digest)) continue;
      kept.Append(document["manifests"].at(i));
      TRY(Collect(index.manifests[i], 0));
    }
    if (kept.size() == 0) return Unimplemented("choosing among indexes within an index");
    registry::ManifestDocument whole{target, std::move(text)};
    if (kept.size() < index.manifests.size()) {
      document.Set("manifests", std::move(kept));
      whole.text = document.Dump();
      whole.descriptor.digest = formats::Digest::Of(whole.text);
    }
    whole.descriptor.size = static_cast<int64_t>(whole.text.size());
    manifests_.push_back(whole);
    return whole.descriptor;
  }

  // Until the request is through, also when the image is removed meanwhile.
  Result<> Keep(const formats::Digest& digest) {
    if (TRY(library_.records->FindBlob(digest))) return {};
    return NotFound("content {}: not found", digest.text());
  }

  Result<> PushBlobs() {
    for (const oci::Descriptor& blob : blobs_) {
      library_.Report({"waiting", blob.digest.text(), 0, static_cast<uint64_t>(blob.size), blob});
    }
    std::atomic<size_t> next{0};
    auto work = [&] {
      for (size_t i = next++; i < blobs_.size() && !failed_; i = next++) {
        auto pushed = PushBlob(blobs_[i]);
        if (pushed.ok()) continue;
        failed_ = true;
        MutexLock lock(mutex_);
        if (!error_) {
          error_ = std::move(pushed).error().AddContext(
              fmt::format("pushing {}", blobs_[i].digest.text()));
        }
      }
    };
    size_t count =
        std::min<size_t>(static_cast<size_t>(std::max(1, options_.parallel_blobs)), blobs_.size());
    std::vector<std::thread> threads;
    for (size_t i = 1; i < count; ++i) threads.emplace_back(work);
    work();
    for (std::thread& thread : threads) thread.join();
    MutexLock lock(mutex_);
    if (error_) return std::move(*error_);
    return {};
  }

  Result<> PushBlob(const oci::Descriptor& blob) {
    content::BlobInfo info = TRY(library_.blobs->Stat(blob.digest));
    UniqueFd file = TRY(library_.blobs->OpenBlob(blob.digest));
    Client::BlobUpload upload;
    upload.digest = blob.digest;
    upload.body.size = info.size;
    upload.mount_from = TRY(OtherRepositories(blob.digest));
    uint64_t reported = 0;
    upload.body.read = [&](uint64_t offset, char* buffer, size_t size) -> Result<size_t> {
      if (failed_) return MakeError(ErrorKind::kCancelled, "another blob failed");
      if (offset < reported) reported = 0;  // it is sent again
      if (offset - reported >= kReportBytes) {
        reported = offset;
        library_.Report({"uploading", blob.digest.text(), offset, info.size, blob});
      }
      for (;;) {
        ssize_t count = ::pread(file.get(), buffer, size, static_cast<off_t>(offset));
        if (count >= 0) return static_cast<size_t>(count);
        if (errno != EINTR) return ErrnoError("reading content {}", blob.digest.text());
      }
    };
    auto pushed = TRY(Repeat([&] {
      return client_.PushBlob(reference_.domain, reference_.path, upload, library_.stop);
    }));
    std::string event = pushed == Client::Pushed::kExists    ? "already exists"
                        : pushed == Client::Pushed::kMounted ? "mounted"
                                                             : "complete";
    library_.Report({std::move(event), blob.digest.text(), info.size, info.size, blob});
    return {};
  }

  Result<> PushManifest(const registry::ManifestDocument& document, bool root) {
    const oci::Descriptor& descriptor = document.descriptor;
    bool tagged = root && reference_.digest.empty();
    if (root && !reference_.digest.empty() && reference_.digest != descriptor.digest) {
      return InvalidArgument("the name says {}, but the image is {}", reference_.digest.text(),
                             descriptor.digest.text());
    }
    std::string where = tagged ? reference_.tag : std::string(descriptor.digest.text());
    auto pushed = TRY_WITH(Repeat([&] {
                             return client_.PushManifest(reference_.domain, reference_.path, where,
                                                         document, library_.stop);
                           }),
                           "pushing manifest {}", descriptor.digest.text());
    auto size = static_cast<uint64_t>(descriptor.size);
    library_.Report({pushed == Client::Pushed::kExists ? "already exists" : "complete",
                     descriptor.digest.text(), size, size, descriptor});
    return {};
  }

  // A connection that broke is tried again.
  template <typename F>
  auto Repeat(F&& call) -> decltype(call()) {
    for (int attempt = 1;; ++attempt) {
      auto result = call();
      if (result.ok() || result.error().kind() != ErrorKind::kUnavailable ||
          attempt == kMaxAttempts || failed_) {
        return result;
      }
      auto waited = WaitFor(BorrowedFd(), 0, kFirstPause * (1 << (attempt - 1)), library_.stop);
      if (!waited.ok() && waited.error().kind() == ErrorKind::kCancelled) {
        return std::move(waited).error();
      }
    }
  }

  // Repositories of the same registry that the blob came from.
  Result<std::vector<std::string>> OtherRepositories(const formats::Digest& digest) {
    auto known = TRY(library_.records->FindBlob(digest));
    std::vector<std::string> others;
    if (!known) return others;
    auto label = known->labels.find(source_label_);
    if (label == known->labels.end()) return others;
    for (std::string& repository : Split(label->second, ',')) {
      if (!repository.empty() && repository != reference_.path) {
        others.push_back(std::move(repository));
      }
    }
    // The newest is the likeliest to be there still.
    std::reverse(others.begin(), others.end());
    return others;
  }

  const Library& library_;
  Client& client_;
  const formats::Reference reference_;
  const PushOptions& options_;
  const std::string source_label_;
  std::set<formats::Digest> seen_;
  std::vector<oci::Descriptor> blobs_;
  std::vector<registry::ManifestDocument> manifests_;
  std::atomic<bool> failed_{false};
  Mutex mutex_;
  std::optional<Error> error_ GUARDED_BY(mutex_);
};

}  // namespace

Result<> Push(const Library& library, registry::Client& client, const oci::Descriptor& target,
              const std::string& reference, const PushOptions& options) {
  formats::Reference parsed = formats::WithDefaultTag(TRY(formats::ParseReference(reference)));
  TRY_WITH(Pusher(library, client, parsed, options).Run(target), "pushing '{}'", parsed.Familiar());
  return {};
}

}  // namespace gantry::images
