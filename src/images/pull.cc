// SPDX-License-Identifier: Apache-2.0
#include "images/pull.h"

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "formats/reference.h"

namespace gantry::images {
namespace {

constexpr int kMaxAttempts = 5;
constexpr uint64_t kReportBytes = uint64_t{512} << 10;
// How often a blob that somebody else downloads is looked at.
constexpr std::chrono::milliseconds kOtherWriterInterval{50};
constexpr std::chrono::hours kOtherWriterLimit{1};

class Puller {
 public:
  Puller(const Library& library, registry::Client& client, formats::Reference reference,
         const PullOptions& options)
      : library_(library),
        client_(client),
        reference_(std::move(reference)),
        options_(options),
        source_label_("containerd.io/distribution.source." + reference_.domain) {}

  // The descriptor that the reference stands for, with everything for the platform on disk.
  Result<oci::Descriptor> Run() {
    std::string what =
        reference_.digest.empty() ? reference_.tag : std::string(reference_.digest.text());
    library_.Report({"resolving", reference_.ToString(), 0, 0, {}});
    registry::ManifestDocument root =
        TRY(client_.GetManifest(reference_.domain, reference_.path, what, library_.stop));
    library_.Report({"resolved", reference_.ToString(), 0, 0, root.descriptor});
    registry::ManifestDocument document = root;
    for (int depth = 0; oci::IsIndex(document.descriptor.media_type); ++depth) {
      if (depth == kMaxIndexDepth) return InvalidArgument("indexes within indexes");
      oci::Index index = TRY(oci::ParseIndex(document.text, document.descriptor.media_type));
      TRY(Store(document, ReferenceLabels(index)));
      oci::Descriptor chosen = TRY(oci::SelectPlatform(index, options_.platform));
      document = TRY(client_.GetManifest(reference_.domain, reference_.path, chosen.digest.text(),
                                         library_.stop));
    }
    oci::Manifest manifest = TRY(oci::ParseManifest(document.text, document.descriptor.media_type));
    TRY(Store(document, ReferenceLabels(manifest)));
    std::vector<oci::Descriptor> blobs = manifest.layers;
    blobs.push_back(manifest.config);
    TRY(FetchAll(std::move(blobs)));
    return root.descriptor;
  }

 private:
  Result<> Store(const registry::ManifestDocument& document, Labels labels) {
    TRY(content::PutBlob(*library_.blobs, library_.ns, document.text));
    labels[source_label_] = reference_.path;
    return library_.records->PutBlob(
        {document.descriptor.digest, static_cast<uint64_t>(document.descriptor.size), labels});
  }

  Result<> FetchAll(std::vector<oci::Descriptor> blobs) {
    // The same layer twice is fetched once.
    std::vector<oci::Descriptor> unique;
    for (oci::Descriptor& blob : blobs) {
      auto same = [&](const oci::Descriptor& other) { return other.digest == blob.digest; };
      if (std::none_of(unique.begin(), unique.end(), same)) unique.push_back(std::move(blob));
    }
    for (const oci::Descriptor& blob : unique) {
      library_.Report({"waiting", blob.digest.text(), 0, static_cast<uint64_t>(blob.size), blob});
    }
    std::atomic<size_t> next{0};
    auto work = [&] {
      for (size_t i = next++; i < unique.size() && !failed_; i = next++) {
        auto fetched = Fetch(unique[i]);
        if (fetched.ok()) continue;
        failed_ = true;
        MutexLock lock(mutex_);
        if (!error_) {
          error_ = std::move(fetched).error().AddContext(
              fmt::format("fetching {}", unique[i].digest.text()));
        }
      }
    };
    size_t count =
        std::min<size_t>(static_cast<size_t>(std::max(1, options_.parallel_layers)), unique.size());
    std::vector<std::thread> threads;
    for (size_t i = 1; i < count; ++i) threads.emplace_back(work);
    work();
    for (std::thread& thread : threads) thread.join();
    MutexLock lock(mutex_);
    if (error_) return std::move(*error_);
    return {};
  }

  Result<> Fetch(const oci::Descriptor& blob) {
    auto size = static_cast<uint64_t>(blob.size);
    auto recorded = Record(blob);
    if (recorded.ok()) {
      library_.Report({"already exists", blob.digest.text(), size, size, blob});
      return {};
    }
    if (recorded.error().kind() != ErrorKind::kNotFound) return recorded;
    auto writer = TRY(OpenWriter(blob));
    if (writer != nullptr) TRY(Download(*writer, blob));
    TRY(Record(blob));
    library_.Report({"complete", blob.digest.text(), size, size, blob});
    return {};
  }

  Result<> Record(const oci::Descriptor& blob) {
    return library_.records->PutBlob(
        {blob.digest, static_cast<uint64_t>(blob.size), {{source_label_, reference_.path}}});
  }

  // The writer for this blob, or nothing when another pull brought it meanwhile.
  Result<std::unique_ptr<content::BlobWriter>> OpenWriter(const oci::Descriptor& blob) {
    content::BlobStore::WriterOptions options{.ns = library_.ns,
                                              .ref = "layer-" + blob.digest.text(),
                                              .total = static_cast<uint64_t>(blob.size),
                                              .expected = blob.digest};
    auto deadline = SteadyClock::now() + kOtherWriterLimit;
    for (;;) {
      if (library_.blobs->Stat(blob.digest).ok()) return std::unique_ptr<content::BlobWriter>();
      auto writer = library_.blobs->OpenWriter(options);
      if (writer.ok() || writer.error().kind() != ErrorKind::kUnavailable) return writer;
      if (SteadyClock::now() > deadline) return writer;
      auto waited = WaitFor(BorrowedFd(), 0, kOtherWriterInterval, library_.stop);
      if (!waited.ok() && waited.error().kind() == ErrorKind::kCancelled) {
        return std::move(waited).error();
      }
    }
  }

  Result<> Download(content::BlobWriter& writer, const oci::Descriptor& blob) {
    auto size = static_cast<uint64_t>(blob.size);
    for (int attempt = 1;; ++attempt) {
      if (writer.offset() > size) TRY(writer.Truncate(0));
      Result<> result =
          writer.offset() < size || size == 0 ? DownloadOnce(writer, blob) : Result<>();
      if (result.ok()) {
        auto committed = writer.Commit(size, blob.digest);
        if (committed.ok() || committed.error().kind() == ErrorKind::kAlreadyExists) return {};
        // Damaged on the way, or by what an earlier try left: from the beginning.
        if (committed.error().kind() == ErrorKind::kFailedPrecondition) {
          bool short_of = writer.offset() < size;
          if (!short_of) TRY(writer.Truncate(0));
          committed.error().SetKind(ErrorKind::kDataLoss);
        }
        result = std::move(committed).error();
      }
      ErrorKind kind = result.error().kind();
      bool again = kind == ErrorKind::kUnavailable || kind == ErrorKind::kDataLoss ||
                   kind == ErrorKind::kOutOfRange;
      if (!again || attempt == kMaxAttempts || failed_) return result;
      if (kind == ErrorKind::kOutOfRange) TRY(writer.Truncate(0));
    }
  }

  Result<> DownloadOnce(content::BlobWriter& writer, const oci::Descriptor& blob) {
    auto size = static_cast<uint64_t>(blob.size);
    uint64_t reported = writer.offset();
    library_.Report({"downloading", blob.digest.text(), reported, size, blob});
    registry::Client::BlobSink sink;
    sink.restart = [&] { return writer.Truncate(0); };
    sink.write = [&](std::string_view data) -> Result<> {
      if (failed_) return MakeError(ErrorKind::kCancelled, "another layer failed");
      if (data.size() > size - writer.offset()) {
        return InvalidArgument("the registry sends more than the {} bytes of the descriptor", size);
      }
      TRY(writer.Write(data));
      if (writer.offset() - reported >= kReportBytes) {
        reported = writer.offset();
        library_.Report({"downloading", blob.digest.text(), reported, size, blob});
      }
      return {};
    };
    return client_.GetBlob(reference_.domain, reference_.path, blob.digest, writer.offset(), sink,
                           library_.stop);
  }

  const Library& library_;
  registry::Client& client_;
  const formats::Reference reference_;
  const PullOptions& options_;
  const std::string source_label_;
  std::atomic<bool> failed_{false};
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
  if (options.before_record) TRY(options.before_record(image.target));
  TRY_WITH(library.records->PutImage(image), "recording image '{}'", name);
  library.Report({"saved", name, 0, 0, image.target});
  return image;
}

}  // namespace gantry::images
