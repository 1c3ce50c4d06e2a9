// SPDX-License-Identifier: Apache-2.0
//
// A registry's store in a directory of its own:
//
//   ROOT/registry.db       manifests, tags, and which repository has which blobs
//   ROOT/content/          the blobs' bytes and the uploads (content/blob_store.h)
//   ROOT/lock              one process at a time
//
// A record is written before the bytes get their name and a blob is there when both are, so that a
// kill in between leaves a record without bytes, or bytes without a record: both are swept at the
// next start. Bytes go inside the transaction that removes the last record of them.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/pid_file.h"
#include "content/blob_store.h"
#include "distribution/store.h"
#include "distribution/uploads.h"
#include "records/database.h"

namespace gantry::distribution {

class DirectoryStore : public Store {
 public:
  // kFailedPrecondition: another process has it.
  static Result<std::unique_ptr<DirectoryStore>> Open(const std::string& root);

  Result<std::vector<std::string>> Repositories(const std::string& after, size_t limit) override;
  Result<std::vector<std::string>> Tags(const std::string& repository, const std::string& after,
                                        size_t limit) override;
  Result<uint64_t> BlobSize(const std::string& repository, const formats::Digest& digest) override;
  Result<> ReadBlob(const std::string& repository, const formats::Digest& digest, uint64_t offset,
                    uint64_t length, const Take& take) override;
  Result<> DeleteBlob(const std::string& repository, const formats::Digest& digest) override;
  Result<bool> MountBlob(const std::string& repository, const std::string& from,
                         const formats::Digest& digest) override;
  Result<std::string> BeginUpload(const std::string& repository,
                                  formats::DigestAlgorithm algorithm) override;
  Result<uint64_t> UploadSize(const std::string& repository, const std::string& id) override;
  Result<uint64_t> AppendUpload(const std::string& repository, const std::string& id,
                                std::optional<uint64_t> offset, ByteSource& data) override;
  Result<> FinishUpload(const std::string& repository, const std::string& id,
                        const formats::Digest& digest) override;
  Result<> CancelUpload(const std::string& repository, const std::string& id) override;
  Result<StoredManifest> GetManifest(const std::string& repository,
                                     const std::string& reference) override;
  Result<formats::Digest> PutManifest(const std::string& repository, const StoredManifest& manifest,
                                      const std::vector<std::string>& tags) override;
  Result<> DeleteManifest(const std::string& repository, const formats::Digest& digest) override;
  Result<> DeleteTag(const std::string& repository, const std::string& tag) override;
  Result<std::vector<Referrer>> Referrers(const std::string& repository,
                                          const formats::Digest& subject) override;

 private:
  DirectoryStore(PidFile lock, std::unique_ptr<records::Database> database,
                 std::unique_ptr<content::BlobStore> blobs)
      : lock_(std::move(lock)), database_(std::move(database)), blobs_(std::move(blobs)) {}

  // What a kill left, and uploads of long ago.
  Result<> Sweep();
  Result<> DropOldUploads();
  Result<> CheckBlob(records::Transaction& tx, const std::string& repository,
                     const formats::Digest& digest);
  // Removes the bytes when no record names them any more.
  Result<> DropBytes(records::Transaction& tx, const formats::Digest& digest);
  // Gives the upload to one request. kNotFound, kUnavailable.
  Result<std::unique_ptr<content::BlobWriter>> TakeUpload(const std::string& repository,
                                                          const std::string& id);

  PidFile lock_;
  std::unique_ptr<records::Database> database_;
  std::unique_ptr<content::BlobStore> blobs_;
  OpenUploads<content::BlobWriter> uploads_;
};

}  // namespace gantry::distribution
