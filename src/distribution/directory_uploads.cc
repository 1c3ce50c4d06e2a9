// SPDX-License-Identifier: Apache-2.0
//
// The uploads of a DirectoryStore.
#include <fmt/format.h>

#include "base/log.h"
#include "base/random.h"
#include "distribution/directory_store.h"

namespace gantry::distribution {
namespace {

using content::BlobWriter;
using formats::Digest;

// As docker-registry's default.
constexpr auto kUploadAge = std::chrono::hours(24 * 7);
// Writers that wait for the next request of their upload.
constexpr size_t kMaxOpen = 64;
constexpr auto kOpenTime = std::chrono::seconds(60);

// A UUID of random bytes (RFC 9562, version 4).
std::string MakeUuid() {
  std::string hex = RandomHex(16);
  hex[12] = '4';
  hex[16] = "89ab"[RandomU64() % 4];
  return fmt::format("{}-{}-{}-{}-{}", hex.substr(0, 8), hex.substr(8, 4), hex.substr(12, 4),
                     hex.substr(16, 4), hex.substr(20));
}

Error NoUpload(const std::string& id) { return NotFound("upload {} is not known", id); }

}  // namespace

Result<> DirectoryStore::DropOldUploads() {
  WallTime oldest = WallClock::now() - kUploadAge;
  for (const content::IngestStatus& upload : TRY(blobs_->Ingests(""))) {
    if (upload.updated_at >= oldest) continue;
    auto dropped = blobs_->AbortUnlessOpen(upload.ns, upload.ref);
    if (!dropped.ok()) log::Warning("dropping an old upload: {}", dropped.error().message());
  }
  return {};
}

Result<std::string> DirectoryStore::BeginUpload(const std::string& repository,
                                                formats::DigestAlgorithm algorithm) {
  std::string id = MakeUuid();
  content::BlobStore::WriterOptions options{.ns = repository, .ref = id, .expected = {}};
  // Only the algorithm of what is expected counts; the digest itself comes at the end.
  if (algorithm != formats::DigestAlgorithm::kSha256) options.expected = Digest::Of("", algorithm);
  GiveBack({repository, id}, TRY(blobs_->OpenWriter(options)));
  return id;
}

Result<uint64_t> DirectoryStore::UploadSize(const std::string& repository, const std::string& id) {
  auto status = blobs_->Status(repository, id);
  if (!status.ok() && status.error().kind() == ErrorKind::kNotFound) return NoUpload(id);
  return TRY(std::move(status)).offset;
}

Result<std::unique_ptr<BlobWriter>> DirectoryStore::TakeUpload(const std::string& repository,
                                                               const std::string& id) {
  TRY(UploadSize(repository, id));
  {
    MutexLock lock(mutex_);
    OpenUpload& open = uploads_[{repository, id}];
    if (open.writer != nullptr) return std::move(open.writer);
  }
  // Of an earlier process, or closed since it was idle. Another request's is refused here.
  auto writer = blobs_->OpenWriter({.ns = repository, .ref = id, .expected = {}});
  if (!writer.ok() && writer.error().kind() != ErrorKind::kUnavailable) Forget({repository, id});
  return writer;
}

void DirectoryStore::GiveBack(const UploadKey& key, std::unique_ptr<BlobWriter> writer) {
  std::vector<std::unique_ptr<BlobWriter>> idle;  // closed without the lock
  auto now = SteadyClock::now();
  MutexLock lock(mutex_);
  uploads_[key] = {std::move(writer), now};
  bool many = uploads_.size() > kMaxOpen;
  for (auto open = uploads_.begin(); open != uploads_.end();) {
    bool close = open->second.writer != nullptr && open->first != key &&
                 (many || now - open->second.used_at > kOpenTime);
    if (close) idle.push_back(std::move(open->second.writer));
    open = close ? uploads_.erase(open) : std::next(open);
  }
}

void DirectoryStore::Forget(const UploadKey& key) {
  MutexLock lock(mutex_);
  uploads_.erase(key);
}

Result<uint64_t> DirectoryStore::AppendUpload(const std::string& repository, const std::string& id,
                                              std::optional<uint64_t> offset, ByteSource& data) {
  auto writer = TRY(TakeUpload(repository, id));
  auto appended = [&]() -> Result<> {
    if (offset && *offset != writer->offset()) {
      return MakeError(ErrorKind::kOutOfRange, "upload {} is at {}, not at {}", id,
                       writer->offset(), *offset);
    }
    for (;;) {
      std::string_view piece = TRY(data.Next());
      if (piece.empty()) return {};
      TRY(writer->Write(piece));
    }
  }();
  uint64_t size = writer->offset();
  GiveBack({repository, id}, std::move(writer));
  TRY(std::move(appended));
  return size;
}

Result<> DirectoryStore::FinishUpload(const std::string& repository, const std::string& id,
                                      const Digest& digest) {
  auto writer = TRY(TakeUpload(repository, id));
  Digest got = writer->Current();
  if (got.algorithm() == digest.algorithm() && got != digest) {
    GiveBack({repository, id}, std::move(writer));
    return FailedPrecondition("upload {} has digest {}, not {}", id, got.text(), digest.text());
  }
  {
    auto tx = TRY(database_->Begin());
    TRY(tx.Execute("INSERT OR IGNORE INTO blobs VALUES(?, ?)", repository, digest.text()));
    TRY(tx.Commit());
  }
  auto committed = writer->Commit(0, digest);
  if (committed.ok() || committed.error().kind() == ErrorKind::kAlreadyExists) {
    Forget({repository, id});
    return {};
  }
  GiveBack({repository, id}, std::move(writer));
  return std::move(committed).error();
}

Result<> DirectoryStore::CancelUpload(const std::string& repository, const std::string& id) {
  auto writer = TRY(TakeUpload(repository, id));
  writer->Discard();
  Forget({repository, id});
  return {};
}

}  // namespace gantry::distribution
