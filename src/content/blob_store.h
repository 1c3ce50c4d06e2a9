// SPDX-License-Identifier: Apache-2.0
//
// Blobs on disk (docs/state-on-disk.md):
//
//   ROOT/blobs/sha256/HEX                            a whole, verified blob, 0444
//   ROOT/ingest/HEX/{data,ref,startedat,total,expected}       a write in progress; HEX =
//   sha256("NS/REF")
//
// It knows bytes only. Which namespace may see a blob, labels and leases are records of the
// container daemon, which writes them after Commit() and removes them before Delete(). A blob that
// no record names is garbage. Any thread; one writer for each namespace and ref.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/byte_stream.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/mutex.h"
#include "base/unique_fd.h"
#include "formats/digest.h"

namespace gantry::content {

struct BlobInfo {
  formats::Digest digest;
  uint64_t size = 0;
  WallTime modified_at;
};

struct IngestStatus {
  std::string ns;
  std::string ref;
  uint64_t offset = 0;       // bytes written so far
  uint64_t total = 0;        // 0: not known
  formats::Digest expected;  // may be empty
  WallTime started_at;
  WallTime updated_at;
};

class BlobStore;

// One write. Destroyed without Commit, what was written stays for a writer that resumes; Abort()
// of the store removes it. One thread at a time.
class BlobWriter {
 public:
  ~BlobWriter();
  BlobWriter(const BlobWriter&) = delete;
  BlobWriter& operator=(const BlobWriter&) = delete;

  const IngestStatus& status() const { return status_; }
  uint64_t offset() const { return status_.offset; }
  // The digest (sha256 unless another is expected) of what was written so far.
  formats::Digest Current() const { return hasher_.Current(); }

  // Appends at offset().
  Result<> Write(std::string_view data);
  // Drops everything from `offset` on; only 0 or the current offset.
  Result<> Truncate(uint64_t offset);
  // Verifies (`size` 0 and an empty digest: not given), syncs, renames into blobs/ and returns what
  // the blob is. kFailedPrecondition on a mismatch: the write stays as it is. kAlreadyExists when
  // the blob is there already: the write is removed. The writer is used up by success and by
  // kAlreadyExists.
  Result<BlobInfo> Commit(uint64_t size, const formats::Digest& expected);
  // What is written, open for reading from its beginning; it stays readable after Commit().
  Result<UniqueFd> OpenData() const;
  // Removes what was written. The writer is used up.
  void Discard();

 private:
  friend class BlobStore;
  BlobWriter(BlobStore* store, std::string directory, std::string key, IngestStatus status,
             UniqueFd data);

  BlobStore* store_;
  std::string directory_;
  std::string key_;
  IngestStatus status_;
  UniqueFd data_;
  formats::Hasher hasher_;
  uint64_t writeback_offset_ = 0;  // what is before it is on its way to the disk
};

class BlobStore {
 public:
  // Makes the directories when they are missing.
  static Result<std::unique_ptr<BlobStore>> Open(const std::string& root);

  // kNotFound: "content sha256:…: not found".
  Result<BlobInfo> Stat(const formats::Digest& digest) const;
  // For reading with pread(2).
  Result<UniqueFd> OpenBlob(const formats::Digest& digest) const;
  // The whole blob; more than `limit` bytes is kResourceExhausted. The digest is verified.
  Result<std::string> ReadBlob(const formats::Digest& digest, size_t limit) const;
  Result<> Delete(const formats::Digest& digest);
  Result<> Walk(const std::function<Result<>(const BlobInfo&)>& visit) const;

  struct WriterOptions {
    std::string ns;
    std::string ref;           // any text, at most 4096 bytes
    uint64_t total = 0;        // 0: not known
    formats::Digest expected;  // empty: not known
  };
  // Opens the write of this namespace and ref, where it was left if there was one. kUnavailable
  // when another writer has it.
  Result<std::unique_ptr<BlobWriter>> OpenWriter(const WriterOptions& options);
  // Until nobody has this write open; false when that takes longer.
  bool WaitForWriter(const std::string& ns, const std::string& ref,
                     std::chrono::milliseconds limit);
  Result<IngestStatus> Status(const std::string& ns, const std::string& ref) const;
  // Every write of a namespace by its ref; of all when `ns` is empty.
  Result<std::vector<IngestStatus>> Ingests(const std::string& ns) const;
  // What is left of writes that a kill broke off while they were being made, which have no ref yet
  // and can't be resumed. Before anybody writes.
  Result<> RemoveBrokenIngests();
  // Removes a write; kNotFound. A writer that has it open keeps the ref until it is destroyed, and
  // fails at Commit.
  Result<> Abort(const std::string& ns, const std::string& ref);
  // The same, of a write that nobody has open; kUnavailable.
  Result<> AbortUnlessOpen(const std::string& ns, const std::string& ref);

  const std::string& root() const { return root_; }
  std::string BlobPath(const formats::Digest& digest) const;

 private:
  friend class BlobWriter;
  explicit BlobStore(std::string root) : root_(std::move(root)) {}
  std::string IngestDirectory(const std::string& ns, const std::string& ref) const;
  Result<> RemoveWrite(const std::string& ns, const std::string& ref) REQUIRES(mutex_);
  Result<IngestStatus> ReadIngest(const std::string& directory) const;
  void Release(const std::string& key);

  const std::string root_;
  Mutex mutex_;
  CondVar released_;
  std::set<std::string> open_writers_ GUARDED_BY(mutex_);
};

// A small blob at once: kAlreadyExists is success. For documents that gantry itself writes.
Result<BlobInfo> PutBlob(BlobStore& store, const std::string& ns, std::string_view data);

}  // namespace gantry::content
