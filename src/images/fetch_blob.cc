// SPDX-License-Identifier: Apache-2.0
#include "images/fetch_blob.h"

#include <algorithm>
#include <map>
#include <thread>
#include <vector>

#include "base/mutex.h"

namespace gantry::images {
namespace {

constexpr int kMaxAttempts = 5;
constexpr uint64_t kReportBytes = uint64_t{512} << 10;
// Before the second attempt; doubled for each one after it.
constexpr std::chrono::milliseconds kFirstPause{100};
// How often a blob that somebody else downloads is looked at.
constexpr std::chrono::milliseconds kOtherWriterInterval{50};
constexpr std::chrono::hours kOtherWriterLimit{1};
// Less than this is not worth a second connection.
constexpr uint64_t kPartedBytes = uint64_t{64} << 20;
constexpr uint64_t kPartBytes = uint64_t{8} << 20;
// What a broken connection left of less than this is thrown away.
constexpr uint64_t kWorthResumingBytes = uint64_t{64} << 10;

// Parts of a blob, fetched by several threads and taken in order. At most two a thread are ahead.
class Parts {
 public:
  using FetchPart = std::function<Result<std::string>(uint64_t offset, uint64_t size)>;
  Parts(uint64_t begin, uint64_t end, int threads, FetchPart fetch)
      : begin_(begin),
        end_(end),
        count_((end - begin + kPartBytes - 1) / kPartBytes),
        ahead_(2 * static_cast<uint64_t>(threads)),
        fetch_(std::move(fetch)) {
    for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { Work(); });
  }
  ~Parts() {
    {
      MutexLock lock(mutex_);
      stop_ = true;
      changed_.NotifyAll();
    }
    for (std::thread& thread : threads_) thread.join();
  }

  // The next part; empty at the end.
  Result<std::string> Take() {
    MutexLock lock(mutex_);
    if (taken_ == count_) return std::string();
    while (!error_ && !ready_.contains(taken_)) changed_.Wait(mutex_);
    auto found = ready_.find(taken_);
    if (found == ready_.end()) return Error(*error_);
    std::string part = std::move(found->second);
    ready_.erase(found);
    ++taken_;
    changed_.NotifyAll();
    return part;
  }

 private:
  void Work() {
    for (;;) {
      uint64_t mine = 0;
      {
        MutexLock lock(mutex_);
        while (!stop_ && !error_ && next_ < count_ && next_ >= taken_ + ahead_) {
          changed_.Wait(mutex_);
        }
        if (stop_ || error_ || next_ == count_) return;
        mine = next_++;
      }
      uint64_t offset = begin_ + mine * kPartBytes;
      auto part = fetch_(offset, std::min(kPartBytes, end_ - offset));
      MutexLock lock(mutex_);
      if (part.ok()) {
        ready_[mine] = *std::move(part);
      } else if (!error_) {
        error_ = std::move(part).error();
      }
      changed_.NotifyAll();
    }
  }

  const uint64_t begin_;
  const uint64_t end_;
  const uint64_t count_;
  const uint64_t ahead_;
  const FetchPart fetch_;
  Mutex mutex_;
  CondVar changed_;
  uint64_t next_ GUARDED_BY(mutex_) = 0;
  uint64_t taken_ GUARDED_BY(mutex_) = 0;
  std::map<uint64_t, std::string> ready_ GUARDED_BY(mutex_);
  std::optional<Error> error_ GUARDED_BY(mutex_);
  bool stop_ GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace

struct BlobFetcher::Download {
  const oci::Descriptor& blob;
  uint64_t size;
  LayerFeed* feed;
  std::unique_ptr<content::BlobWriter> writer;
  uint64_t reported = 0;
  bool in_parts = true;  // until the registry refuses
};

Result<> BlobFetcher::Fetch(const oci::Descriptor& blob, LayerFeed* feed) const {
  if (blob.size < 0 || static_cast<uint64_t>(blob.size) > library_.max_layer_bytes) {
    return MakeError(ErrorKind::kResourceExhausted, "it has {} bytes, more than the {} allowed",
                     blob.size, library_.max_layer_bytes);
  }
  Download download{blob, static_cast<uint64_t>(blob.size), feed, TRY(OpenWriter(blob))};
  if (download.writer == nullptr) return {};
  if (feed != nullptr) {
    feed->Begin(TRY(download.writer->OpenData()), download.writer->offset());
  }
  auto result = Run(download);
  if (result.ok()) return {};
  switch (result.error().kind()) {
    case ErrorKind::kUnavailable:
    case ErrorKind::kCancelled:
    case ErrorKind::kUnauthenticated:
    case ErrorKind::kPermissionDenied:
    case ErrorKind::kResourceExhausted:
      if (download.writer->offset() >= kWorthResumingBytes) break;
      [[fallthrough]];
    default:
      download.writer->Discard();
  }
  return result;
}

// The writer for this blob, or nothing when another pull brought it meanwhile.
Result<std::unique_ptr<content::BlobWriter>> BlobFetcher::OpenWriter(
    const oci::Descriptor& blob) const {
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
    if (stop_early_) return MakeError(ErrorKind::kCancelled, "another layer failed");
    auto waited = WaitFor(BorrowedFd(), 0, kOtherWriterInterval, library_.stop);
    if (!waited.ok() && waited.error().kind() == ErrorKind::kCancelled) {
      return std::move(waited).error();
    }
  }
}

Result<> BlobFetcher::Run(Download& download) const {
  for (int attempt = 1;; ++attempt) {
    if (download.writer->offset() > download.size) TRY(Restart(download));
    bool all_there = download.writer->offset() == download.size && download.size != 0;
    Result<> result = all_there ? Result<>() : Once(download);
    if (result.ok()) result = Commit(download);
    if (result.ok()) return {};
    ErrorKind kind = result.error().kind();
    bool again = kind == ErrorKind::kUnavailable || kind == ErrorKind::kDataLoss ||
                 kind == ErrorKind::kOutOfRange;
    if (!again || attempt == kMaxAttempts || stop_early_) return result;
    if (kind == ErrorKind::kOutOfRange) TRY(Restart(download));
    TRY(Pause(attempt));
  }
}

Result<> BlobFetcher::Commit(Download& download) const {
  auto committed = download.writer->Commit(download.size, download.blob.digest);
  if (committed.ok() || committed.error().kind() == ErrorKind::kAlreadyExists) return {};
  // Damaged on the way, or by what an earlier try left: from the beginning.
  if (committed.error().kind() == ErrorKind::kFailedPrecondition) {
    bool short_of = download.writer->offset() < download.size;
    if (!short_of) TRY(Restart(download));
    committed.error().SetKind(ErrorKind::kDataLoss);
  }
  return std::move(committed).error();
}

Result<> BlobFetcher::Pause(int attempt) const {
  auto waited = WaitFor(BorrowedFd(), 0, kFirstPause * (1 << (attempt - 1)), library_.stop);
  if (!waited.ok() && waited.error().kind() == ErrorKind::kCancelled) return waited;
  return {};
}

Result<> BlobFetcher::Append(Download& download, std::string_view data) const {
  if (stop_early_) return MakeError(ErrorKind::kCancelled, "another layer failed");
  content::BlobWriter& writer = *download.writer;
  if (data.size() > download.size - writer.offset()) {
    return InvalidArgument("the registry sends more than the {} bytes of the descriptor",
                           download.size);
  }
  TRY(writer.Write(data));
  if (download.feed != nullptr) download.feed->Advance(writer.offset());
  if (writer.offset() - download.reported >= kReportBytes) {
    download.reported = writer.offset();
    library_.Report({"downloading", download.blob.digest.text(), writer.offset(), download.size,
                     download.blob});
  }
  return {};
}

Result<> BlobFetcher::Restart(Download& download) const {
  // First the readers: what they would read now is gone.
  if (download.feed != nullptr) download.feed->Restart();
  download.reported = 0;
  return download.writer->Truncate(0);
}

Result<> BlobFetcher::Once(Download& download) const {
  uint64_t offset = download.writer->offset();
  download.reported = offset;
  library_.Report(
      {"downloading", download.blob.digest.text(), offset, download.size, download.blob});
  bool in_parts = download.in_parts && download.blob.urls.empty() && parallel_parts_ > 1;
  if (in_parts && download.size - offset >= kPartedBytes) {
    auto result = InParts(download);
    if (result.ok() || result.error().kind() != ErrorKind::kOutOfRange) return result;
    download.in_parts = false;
  }
  registry::Client::BlobSink sink;
  sink.restart = [&] { return Restart(download); };
  sink.write = [&](std::string_view data) { return Append(download, data); };
  auto result = client_.GetBlob(reference_.domain, reference_.path, download.blob.digest,
                                download.writer->offset(), sink, library_.stop);
  // A layer that its owner keeps to itself: the registry has not got it, somebody else has.
  for (const std::string& url : download.blob.urls) {
    if (result.ok() || result.error().kind() != ErrorKind::kNotFound) break;
    result = client_.GetForeignBlob(url, download.writer->offset(), sink, library_.stop);
  }
  return result;
}

Result<> BlobFetcher::InParts(Download& download) const {
  Parts parts(download.writer->offset(), download.size, parallel_parts_,
              [&](uint64_t offset, uint64_t size) {
                return client_.GetBlobRange(reference_.domain, reference_.path,
                                            download.blob.digest, offset, size, library_.stop);
              });
  for (;;) {
    std::string part = TRY(parts.Take());
    if (part.empty()) return {};
    TRY(Append(download, part));
  }
}

}  // namespace gantry::images
