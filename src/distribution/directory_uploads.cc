// SPDX-License-Identifier: Apache-2.0
//
// The uploads of a DirectoryStore.
#include "base/log.h"
#include "distribution/directory_store.h"

namespace gantry::distribution {
namespace {

using content::BlobWriter;
using formats::Digest;

// As docker-registry's default.
constexpr auto kUploadAge = std::chrono::hours(24 * 7);

std::string Key(const std::string& repository, const std::string& id) {
  return repository + "/" + id;
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
  std::string id = MakeUploadId();
  content::BlobStore::WriterOptions options{.ns = repository, .ref = id, .expected = {}};
  // Only the algorithm of what is expected counts; the digest itself comes at the end.
  if (algorithm != formats::DigestAlgorithm::kSha256) options.expected = Digest::Of("", algorithm);
  uploads_.GiveBack(Key(repository, id), TRY(blobs_->OpenWriter(options)));
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
  auto open = TRY(uploads_.Take(Key(repository, id)));
  if (open != nullptr) return open;
  // Of an earlier process, or closed since it was idle.
  auto writer = blobs_->OpenWriter({.ns = repository, .ref = id, .expected = {}});
  if (!writer.ok()) uploads_.Forget(Key(repository, id));
  return writer;
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
  uploads_.GiveBack(Key(repository, id), std::move(writer));
  TRY(std::move(appended));
  return size;
}

Result<> DirectoryStore::FinishUpload(const std::string& repository, const std::string& id,
                                      const Digest& digest) {
  auto writer = TRY(TakeUpload(repository, id));
  Digest got = writer->Current();
  if (got.algorithm() == digest.algorithm() && got != digest) {
    uploads_.GiveBack(Key(repository, id), std::move(writer));
    return FailedPrecondition("upload {} has digest {}, not {}", id, got.text(), digest.text());
  }
  {
    auto tx = TRY(database_->Begin());
    TRY(tx.Execute("INSERT OR IGNORE INTO blobs VALUES(?, ?)", repository, digest.text()));
    TRY(tx.Commit());
  }
  auto committed = writer->Commit(0, digest);
  if (committed.ok() || committed.error().kind() == ErrorKind::kAlreadyExists) {
    uploads_.Forget(Key(repository, id));
    return {};
  }
  uploads_.GiveBack(Key(repository, id), std::move(writer));
  return std::move(committed).error();
}

Result<> DirectoryStore::CancelUpload(const std::string& repository, const std::string& id) {
  auto writer = TRY(TakeUpload(repository, id));
  writer->Discard();
  uploads_.Forget(Key(repository, id));
  return {};
}

}  // namespace gantry::distribution
