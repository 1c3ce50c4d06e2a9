// SPDX-License-Identifier: Apache-2.0
#include "images/layer_feed.h"

#include <unistd.h>

#include <algorithm>

namespace gantry::images {
namespace {

constexpr size_t kChunkBytes = size_t{256} << 10;

}  // namespace

class FeedSource : public ByteSource {
 public:
  FeedSource(LayerFeed* feed, std::shared_ptr<UniqueFd> data, uint64_t generation)
      : feed_(feed),
        data_(std::move(data)),
        generation_(generation),
        buffer_(new char[kChunkBytes]) {}

  Result<std::string_view> Next() override {
    uint64_t available = TRY(WaitForMore());
    size_t want = std::min<uint64_t>(available - offset_, kChunkBytes);
    if (want == 0) return std::string_view();
    for (;;) {
      ssize_t count = ::pread(data_->get(), buffer_.get(), want, static_cast<off_t>(offset_));
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) return ErrnoError("reading a layer that is being downloaded");
      // Cut off since we looked.
      if (count == 0) return MakeError(ErrorKind::kAborted, "the download began anew");
      offset_ += static_cast<uint64_t>(count);
      return std::string_view(buffer_.get(), static_cast<size_t>(count));
    }
  }

 private:
  Result<uint64_t> WaitForMore() {
    MutexLock lock(feed_->mutex_);
    for (;;) {
      if (feed_->generation_ != generation_) {
        return MakeError(ErrorKind::kAborted, "the download began anew");
      }
      if (feed_->result_ && !feed_->result_->ok()) return Error(feed_->result_->error());
      if (feed_->available_ > offset_ || feed_->result_) return feed_->available_;
      feed_->changed_.Wait(feed_->mutex_);
    }
  }

  LayerFeed* const feed_;
  const std::shared_ptr<UniqueFd> data_;
  const uint64_t generation_;
  std::unique_ptr<char[]> buffer_;
  uint64_t offset_ = 0;
};

void LayerFeed::Begin(UniqueFd data, uint64_t available) {
  MutexLock lock(mutex_);
  data_ = std::make_shared<UniqueFd>(std::move(data));
  available_ = available;
  changed_.NotifyAll();
}

void LayerFeed::Advance(uint64_t available) {
  MutexLock lock(mutex_);
  available_ = available;
  changed_.NotifyAll();
}

void LayerFeed::Restart() {
  MutexLock lock(mutex_);
  available_ = 0;
  ++generation_;
  changed_.NotifyAll();
}

void LayerFeed::Finish(Result<> result) {
  MutexLock lock(mutex_);
  if (!result_) result_.emplace(std::move(result));
  changed_.NotifyAll();
}

Result<> LayerFeed::Await() {
  MutexLock lock(mutex_);
  while (!result_) changed_.Wait(mutex_);
  if (!result_->ok()) return Error(result_->error());
  return {};
}

Result<std::unique_ptr<ByteSource>> LayerFeed::Open() {
  MutexLock lock(mutex_);
  while (!result_ && data_ == nullptr) changed_.Wait(mutex_);
  if (result_ && !result_->ok()) return Error(result_->error());
  if (data_ == nullptr) return std::unique_ptr<ByteSource>();
  return std::unique_ptr<ByteSource>(std::make_unique<FeedSource>(this, data_, generation_));
}

void LayerFeed::Close() {
  MutexLock lock(mutex_);
  data_.reset();
}

LayerFeed* LayerSupply::AddFeed(const formats::Digest& digest) { return &feeds_[digest]; }

void LayerSupply::FinishAll(const Error& error) {
  for (auto& [digest, feed] : feeds_) feed.Finish(Error(error));
}

Result<LayerBytes> LayerSupply::Open(const formats::Digest& digest) {
  auto feed = feeds_.find(digest);
  if (feed != feeds_.end()) {
    auto source = TRY(feed->second.Open());
    if (source != nullptr) return LayerBytes{std::move(source), true};
  }
  return LayerBytes{std::make_unique<FdSource>(TRY(blobs_->OpenBlob(digest))), false};
}

Result<> LayerSupply::Await(const formats::Digest& digest) {
  auto feed = feeds_.find(digest);
  if (feed == feeds_.end()) return {};
  return feed->second.Await();
}

}  // namespace gantry::images
