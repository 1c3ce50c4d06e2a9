// SPDX-License-Identifier: Apache-2.0
#include "content/blob_store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <tuple>

#include "base/directory.h"
#include "base/io.h"
#include "base/undo.h"

namespace gantry::content {
namespace {

constexpr size_t kMaxRefBytes = 4096;
constexpr std::chrono::minutes kPutLimit{1};
constexpr size_t kHashChunk = size_t{1} << 20;
constexpr uint64_t kWritebackBytes = uint64_t{8} << 20;

WallTime TimeOf(const timespec& time) {
  return FromUnixNanos(int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec);
}

Result<> SyncDirectory(const std::string& path) {
  UniqueFd directory = TRY(OpenFile(path, O_RDONLY | O_DIRECTORY));
  if (::fsync(directory.get()) != 0) return ErrnoError("syncing '{}'", path);
  return {};
}

// Ingest directories hold four plain files and nothing else.
void RemoveIngest(const std::string& directory) {
  for (const char* name : {"/data", "/ref", "/startedat", "/total", "/expected"}) {
    ::unlink((directory + name).c_str());
  }
  ::rmdir(directory.c_str());
}

uint64_t ParseNumber(std::string_view text) {
  uint64_t number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

Result<> HashFile(BorrowedFd fd, uint64_t size, formats::Hasher* hasher) {
  std::string buffer(std::min<uint64_t>(size, kHashChunk), '\0');
  uint64_t offset = 0;
  while (offset < size) {
    size_t want = std::min<uint64_t>(size - offset, buffer.size());
    ssize_t count = ::pread(fd.get(), buffer.data(), want, static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return ErrnoError("reading a partial write");
    if (count == 0) return MakeError(ErrorKind::kDataLoss, "reading a partial write: too short");
    hasher->Update({buffer.data(), static_cast<size_t>(count)});
    offset += static_cast<uint64_t>(count);
  }
  return {};
}

}  // namespace

// ---- BlobWriter

BlobWriter::BlobWriter(BlobStore* store, std::string directory, std::string key,
                       IngestStatus status, UniqueFd data)
    : store_(store),
      directory_(std::move(directory)),
      key_(std::move(key)),
      status_(std::move(status)),
      data_(std::move(data)),
      hasher_(status_.expected.empty() ? formats::DigestAlgorithm::kSha256
                                       : status_.expected.algorithm()) {}

BlobWriter::~BlobWriter() {
  if (store_ == nullptr) return;
  // The file system's clock ticks in milliseconds; who resumes the write sees the time that its
  // writer saw. Where it can't be set the coarse one stays.
  int64_t nanos = UnixNanos(status_.updated_at);
  timespec time{.tv_sec = nanos / 1'000'000'000, .tv_nsec = nanos % 1'000'000'000};
  timespec times[] = {time, time};
  (void)::futimens(data_.get(), times);
  store_->Release(key_);
}

Result<> BlobWriter::Write(std::string_view data) {
  TRY_WITH(WriteAll(data_, data), "writing content '{}'", status_.ref);
  hasher_.Update(data);
  status_.offset += data.size();
  // On its way to the disk meanwhile, so that Commit() has little left to wait for. Merely a hint.
  if (status_.offset - writeback_offset_ >= kWritebackBytes) {
    (void)::sync_file_range(data_.get(), static_cast<off64_t>(writeback_offset_),
                            static_cast<off64_t>(status_.offset - writeback_offset_),
                            SYNC_FILE_RANGE_WRITE);
    writeback_offset_ = status_.offset;
  }
  status_.updated_at = WallClock::now();
  return {};
}

Result<> BlobWriter::Truncate(uint64_t offset) {
  if (offset == status_.offset) return {};
  if (offset != 0) {
    return InvalidArgument("truncating content '{}': offset {} is neither 0 nor {}", status_.ref,
                           offset, status_.offset);
  }
  if (::ftruncate(data_.get(), 0) != 0 || ::lseek(data_.get(), 0, SEEK_SET) < 0) {
    return ErrnoError("truncating content '{}'", status_.ref);
  }
  hasher_.Reset();
  status_.offset = writeback_offset_ = 0;
  return {};
}

Result<BlobInfo> BlobWriter::Commit(uint64_t size, const formats::Digest& expected) {
  CHECK(store_ != nullptr);
  if (size != 0 && size != status_.offset) {
    return FailedPrecondition("committing content '{}': expected {} bytes, got {}", status_.ref,
                              size, status_.offset);
  }
  formats::Digest digest = hasher_.Current();
  if (!expected.empty() && expected.algorithm() != digest.algorithm()) {
    formats::Hasher hasher(expected.algorithm());
    TRY(HashFile(data_, status_.offset, &hasher));
    digest = hasher.Current();
  }
  if (!expected.empty() && expected != digest) {
    return FailedPrecondition("unexpected commit digest {}, expected {}", digest.text(),
                              expected.text());
  }
  std::string target = store_->BlobPath(digest);
  if (PathExists(target)) {
    Discard();
    return AlreadyExists("committing content: {} already exists", digest.text());
  }
  // Synced before it is named: a record only ever names a whole blob.
  if (::fchmod(data_.get(), 0444) != 0 || ::fdatasync(data_.get()) != 0) {
    return ErrnoError("syncing content '{}'", status_.ref);
  }
  std::string blobs = target.substr(0, target.rfind('/'));
  TRY(MakeDirectories(blobs, 0700));
  if (::rename((directory_ + "/data").c_str(), target.c_str()) != 0) {
    return ErrnoError("committing content {}", digest.text());
  }
  TRY(SyncDirectory(blobs));
  BlobInfo info{digest, status_.offset, WallClock::now()};
  Discard();
  return info;
}

Result<UniqueFd> BlobWriter::OpenData() const {
  return OpenFile(fmt::format("/proc/self/fd/{}", data_.get()), O_RDONLY);
}

void BlobWriter::Discard() {
  if (store_ == nullptr) return;
  data_.Reset();
  RemoveIngest(directory_);
  std::exchange(store_, nullptr)->Release(key_);
}

// ---- BlobStore

Result<std::unique_ptr<BlobStore>> BlobStore::Open(const std::string& root) {
  TRY_WITH(MakeDirectories(root + "/blobs/sha256", 0700), "opening content store");
  TRY_WITH(MakeDirectories(root + "/ingest", 0700), "opening content store");
  return std::unique_ptr<BlobStore>(new BlobStore(root));
}

std::string BlobStore::BlobPath(const formats::Digest& digest) const {
  return fmt::format("{}/blobs/{}/{}", root_, digest.algorithm_name(), digest.hex());
}

std::string BlobStore::IngestDirectory(const std::string& ns, const std::string& ref) const {
  formats::Digest key = formats::Digest::Of(ns + "/" + ref);
  return fmt::format("{}/ingest/{}", root_, key.hex());
}

Result<BlobInfo> BlobStore::Stat(const formats::Digest& digest) const {
  struct stat status;
  if (digest.empty()) return InvalidArgument("reading content: no digest");
  if (::stat(BlobPath(digest).c_str(), &status) != 0) {
    if (errno == ENOENT) return NotFound("content {}: not found", digest.text());
    return ErrnoError("reading content {}", digest.text());
  }
  return BlobInfo{digest, static_cast<uint64_t>(status.st_size), TimeOf(status.st_mtim)};
}

Result<UniqueFd> BlobStore::OpenBlob(const formats::Digest& digest) const {
  if (digest.empty()) return InvalidArgument("reading content: no digest");
  auto fd = OpenFile(BlobPath(digest), O_RDONLY);
  if (!fd.ok() && fd.error().error_number() == ENOENT) {
    return NotFound("content {}: not found", digest.text());
  }
  return fd;
}

Result<std::string> BlobStore::ReadBlob(const formats::Digest& digest, size_t limit) const {
  UniqueFd fd = TRY(OpenBlob(digest));
  std::string text = TRY_WITH(ReadToEnd(fd, limit), "reading content {}", digest.text());
  if (formats::Digest::Of(text, digest.algorithm()) != digest) {
    return MakeError(ErrorKind::kDataLoss, "reading content {}: the blob on disk is damaged",
                     digest.text());
  }
  return text;
}

Result<> BlobStore::Delete(const formats::Digest& digest) {
  if (digest.empty()) return InvalidArgument("deleting content: no digest");
  if (::unlink(BlobPath(digest).c_str()) != 0) {
    if (errno == ENOENT) return NotFound("content {}: not found", digest.text());
    return ErrnoError("deleting content {}", digest.text());
  }
  return {};
}

Result<> BlobStore::Walk(const std::function<Result<>(const BlobInfo&)>& visit) const {
  for (const char* algorithm : {"sha256", "sha512"}) {
    std::string directory = fmt::format("{}/blobs/{}", root_, algorithm);
    if (!PathExists(directory)) continue;
    for (const std::string& name : TRY(ListDirectory(directory))) {
      auto digest = formats::Digest::Parse(fmt::format("{}:{}", algorithm, name));
      if (!digest.ok()) continue;  // not ours
      auto info = Stat(*digest);
      // Deleted while we walked.
      if (!info.ok() && info.error().kind() == ErrorKind::kNotFound) continue;
      if (!info.ok()) return std::move(info).error();
      TRY(visit(*info));
    }
  }
  return {};
}

Result<std::unique_ptr<BlobWriter>> BlobStore::OpenWriter(const WriterOptions& options) {
  if (options.ref.empty() || options.ref.size() > kMaxRefBytes) {
    return InvalidArgument("writing content: the ref must have 1 to {} bytes", kMaxRefBytes);
  }
  std::string directory = IngestDirectory(options.ns, options.ref);
  std::string key = directory.substr(directory.rfind('/') + 1);
  {
    MutexLock lock(mutex_);
    if (!open_writers_.insert(key).second) {
      return Unavailable("writing content '{}': another writer has it open", options.ref);
    }
  }
  Undo undo;
  undo.Push([&] { Release(key); });

  IngestStatus status;
  auto existing = ReadIngest(directory);
  bool resume = existing.ok() && existing->ref == options.ref && existing->ns == options.ns;
  if (resume) {
    status = std::move(*existing);
    if (options.total != 0) status.total = options.total;
    if (!options.expected.empty()) status.expected = options.expected;
  } else {
    RemoveIngest(directory);
    TRY_WITH(MakeDirectories(directory, 0700), "writing content '{}'", options.ref);
    status = {.ns = options.ns,
              .ref = options.ref,
              .total = options.total,
              .expected = options.expected,
              .started_at = WallClock::now(),
              .updated_at = WallClock::now()};
    TRY(CreateFile(directory + "/startedat", FormatRfc3339Nano(status.started_at), 0600));
    TRY(CreateFile(directory + "/total", fmt::format("{}", status.total), 0600));
    TRY(CreateFile(directory + "/expected", status.expected.text(), 0600));
    // Last: an ingest without a whole ref is not resumed.
    TRY(CreateFile(directory + "/ref", options.ns + "/" + options.ref, 0600));
  }
  UniqueFd data = TRY(OpenFile(directory + "/data", O_RDWR | O_CREAT, 0600));
  if (::lseek(data.get(), 0, SEEK_END) < 0) return ErrnoError("writing content '{}'", options.ref);
  std::unique_ptr<BlobWriter> writer(
      new BlobWriter(this, directory, key, std::move(status), std::move(data)));
  undo.Commit();  // the writer releases the key from here on
  TRY(HashFile(writer->data_, writer->status_.offset, &writer->hasher_));
  return writer;
}

Result<IngestStatus> BlobStore::ReadIngest(const std::string& directory) const {
  IngestStatus status;
  std::string ref = TRY(ReadFile(directory + "/ref", kMaxRefBytes * 2));
  size_t slash = ref.find('/');
  if (slash == std::string::npos) return MakeError(ErrorKind::kDataLoss, "reading '{}'", directory);
  status.ns = ref.substr(0, slash);
  status.ref = ref.substr(slash + 1);
  status.started_at = TRY(ParseRfc3339(TRY(ReadFile(directory + "/startedat", 64))));
  status.total = ParseNumber(TRY(ReadFile(directory + "/total", 64)));
  auto expected = formats::Digest::Parse(TRY(ReadFile(directory + "/expected", 256)));
  if (expected.ok()) status.expected = std::move(*expected);
  struct stat file;
  if (::stat((directory + "/data").c_str(), &file) == 0) {
    status.offset = static_cast<uint64_t>(file.st_size);
    status.updated_at = TimeOf(file.st_mtim);
  } else if (errno == ENOENT) {
    status.updated_at = status.started_at;
  } else {
    return ErrnoError("reading '{}/data'", directory);
  }
  return status;
}

Result<IngestStatus> BlobStore::Status(const std::string& ns, const std::string& ref) const {
  auto status = ReadIngest(IngestDirectory(ns, ref));
  if (!status.ok() && status.error().error_number() == ENOENT) {
    return NotFound("content write '{}': not found", ref);
  }
  return status;
}

Result<std::vector<IngestStatus>> BlobStore::Ingests(const std::string& ns) const {
  std::vector<IngestStatus> all;
  for (const std::string& name : TRY(ListDirectory(root_ + "/ingest"))) {
    auto status = ReadIngest(fmt::format("{}/ingest/{}", root_, name));
    // Being made, being removed, or broken off while it was made: no write that could be resumed.
    if (!status.ok()) continue;
    if (ns.empty() || status->ns == ns) all.push_back(std::move(*status));
  }
  std::sort(all.begin(), all.end(), [](const IngestStatus& a, const IngestStatus& b) {
    return std::tie(a.ns, a.ref) < std::tie(b.ns, b.ref);
  });
  return all;
}

Result<> BlobStore::RemoveBrokenIngests() {
  for (const std::string& name : TRY(ListDirectory(root_ + "/ingest"))) {
    std::string directory = fmt::format("{}/ingest/{}", root_, name);
    if (!ReadIngest(directory).ok()) RemoveIngest(directory);
  }
  return {};
}

Result<> BlobStore::Abort(const std::string& ns, const std::string& ref) {
  MutexLock lock(mutex_);
  return RemoveWrite(ns, ref);
}

Result<> BlobStore::AbortUnlessOpen(const std::string& ns, const std::string& ref) {
  std::string directory = IngestDirectory(ns, ref);
  MutexLock lock(mutex_);
  if (open_writers_.contains(directory.substr(directory.rfind('/') + 1))) {
    return Unavailable("aborting content write '{}': a writer has it open", ref);
  }
  return RemoveWrite(ns, ref);
}

Result<> BlobStore::RemoveWrite(const std::string& ns, const std::string& ref) {
  std::string directory = IngestDirectory(ns, ref);
  if (!PathExists(directory)) return NotFound("content write '{}': not found", ref);
  RemoveIngest(directory);
  return {};
}

void BlobStore::Release(const std::string& key) {
  MutexLock lock(mutex_);
  open_writers_.erase(key);
  released_.NotifyAll();
}

bool BlobStore::WaitForWriter(const std::string& ns, const std::string& ref,
                              std::chrono::milliseconds limit) {
  std::string directory = IngestDirectory(ns, ref);
  std::string key = directory.substr(directory.rfind('/') + 1);
  auto until = SteadyClock::now() + limit;
  MutexLock lock(mutex_);
  while (open_writers_.contains(key)) {
    auto left = until - SteadyClock::now();
    if (left <= left.zero()) return false;
    released_.WaitFor(mutex_, left);
  }
  return true;
}

Result<BlobInfo> PutBlob(BlobStore& store, const std::string& ns, std::string_view data) {
  formats::Digest digest = formats::Digest::Of(data);
  const std::string ref = "put-" + digest.text();
  auto open = [&]() -> Result<std::unique_ptr<BlobWriter>> {
    for (;;) {
      if (store.Stat(digest).ok()) return std::unique_ptr<BlobWriter>();
      auto writer = store.OpenWriter({.ns = ns, .ref = ref, .expected = digest});
      // Somebody puts the same at this moment.
      bool busy = !writer.ok() && writer.error().kind() == ErrorKind::kUnavailable;
      if (!busy || !store.WaitForWriter(ns, ref, kPutLimit)) return writer;
    }
  };
  auto writer = TRY(open());
  if (writer == nullptr) return store.Stat(digest);
  TRY(writer->Truncate(0));
  TRY(writer->Write(data));
  auto info = writer->Commit(data.size(), digest);
  if (!info.ok() && info.error().kind() == ErrorKind::kAlreadyExists) return store.Stat(digest);
  return info;
}

}  // namespace gantry::content
