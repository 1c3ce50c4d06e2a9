// SPDX-License-Identifier: Apache-2.0
#include "distribution/directory_store.h"

#include <unistd.h>

#include <array>
#include <cerrno>

#include "base/io.h"
#include "base/log.h"
#include "distribution/manifest.h"
#include "formats/json.h"

namespace gantry::distribution {
namespace {

using formats::Digest;
using formats::Json;
using records::Transaction;

constexpr size_t kReadBytes = size_t{512} << 10;

// annotations: a JSON object. subject, artifact_type: may be "".
const std::vector<std::string_view> kSchema = {R"(
CREATE TABLE blobs(
  repository TEXT NOT NULL, digest TEXT NOT NULL, PRIMARY KEY(repository, digest)) STRICT;
CREATE INDEX blobs_by_digest ON blobs(digest);
CREATE TABLE manifests(
  repository TEXT NOT NULL, digest TEXT NOT NULL, media_type TEXT NOT NULL, content BLOB NOT NULL,
  subject TEXT NOT NULL, artifact_type TEXT NOT NULL, annotations TEXT NOT NULL,
  PRIMARY KEY(repository, digest)) STRICT;
CREATE INDEX manifests_by_subject ON manifests(repository, subject);
CREATE TABLE tags(
  repository TEXT NOT NULL, tag TEXT NOT NULL, digest TEXT NOT NULL,
  PRIMARY KEY(repository, tag)) STRICT;
)"};

std::string AnnotationsText(const std::map<std::string, std::string>& annotations) {
  Json json = Json::MakeObject({});
  for (const auto& [key, value] : annotations) json.Set(key, value);
  return json.Dump();
}

Error NoBlob(const std::string& repository, const Digest& digest) {
  return NotFound("blob {} is not in {}", digest.text(), repository);
}
Error NoManifest(const std::string& repository, const std::string& reference) {
  return NotFound("manifest {} is not in {}", reference, repository);
}

Result<std::vector<std::string>> FirstColumn(records::Rows rows) {
  std::vector<std::string> texts;
  while (TRY(rows.Next())) texts.push_back(rows.Text(0));
  return texts;
}

}  // namespace

Result<std::unique_ptr<DirectoryStore>> DirectoryStore::Open(const std::string& root) {
  TRY_WITH(MakeDirectories(root, 0700), "opening registry '{}'", root);
  auto lock = TRY_WITH(PidFile::Lock(root + "/lock"), "opening registry '{}'", root);
  auto database = TRY(records::Database::Open(root + "/registry.db", kSchema));
  auto blobs = TRY(content::BlobStore::Open(root + "/content"));
  std::unique_ptr<DirectoryStore> store(
      new DirectoryStore(std::move(lock), std::move(database), std::move(blobs)));
  TRY_WITH(store->Sweep(), "sweeping registry '{}'", root);
  return store;
}

Result<> DirectoryStore::Sweep() {
  auto tx = TRY(database_->Begin());
  size_t lost = 0;
  size_t unnamed = 0;
  for (const std::string& text :
       TRY(FirstColumn(TRY(tx.Query("SELECT DISTINCT digest FROM blobs"))))) {
    if (blobs_->Stat(TRY(Digest::Parse(text))).ok()) continue;
    TRY(tx.Execute("DELETE FROM blobs WHERE digest = ?", text));
    ++lost;
  }
  std::vector<Digest> there;
  TRY(blobs_->Walk([&](const content::BlobInfo& info) -> Result<> {
    there.push_back(info.digest);
    return {};
  }));
  for (const Digest& digest : there) {
    auto rows = TRY(tx.Query("SELECT 1 FROM blobs WHERE digest = ? LIMIT 1", digest.text()));
    if (TRY(rows.Next())) continue;
    TRY(blobs_->Delete(digest));
    ++unnamed;
  }
  TRY(tx.Commit());
  if (lost + unnamed > 0) {
    log::Info("swept {} records without a blob and {} blobs without a record", lost, unnamed);
  }
  return DropOldUploads();
}

Result<std::vector<std::string>> DirectoryStore::Repositories(const std::string& after,
                                                              size_t limit) {
  auto tx = TRY(database_->Read());
  return FirstColumn(TRY(tx.Query(
      "SELECT DISTINCT repository FROM manifests WHERE repository > ? ORDER BY repository LIMIT ?",
      after, uint64_t{limit})));
}

Result<std::vector<std::string>> DirectoryStore::Tags(const std::string& repository,
                                                      const std::string& after, size_t limit) {
  auto tx = TRY(database_->Read());
  {
    auto known = TRY(tx.Query("SELECT 1 FROM manifests WHERE repository = ? LIMIT 1", repository));
    if (!TRY(known.Next())) return NotFound("repository {} is not here", repository);
  }
  return FirstColumn(
      TRY(tx.Query("SELECT tag FROM tags WHERE repository = ? AND tag > ? ORDER BY tag LIMIT ?",
                   repository, after, uint64_t{limit})));
}

Result<> DirectoryStore::CheckBlob(Transaction& tx, const std::string& repository,
                                   const Digest& digest) {
  auto rows = TRY(tx.Query("SELECT 1 FROM blobs WHERE repository = ? AND digest = ?", repository,
                           digest.text()));
  // Its bytes may be on their way.
  if (!TRY(rows.Next()) || !blobs_->Stat(digest).ok()) return NoBlob(repository, digest);
  return {};
}

Result<uint64_t> DirectoryStore::BlobSize(const std::string& repository, const Digest& digest) {
  auto tx = TRY(database_->Read());
  TRY(CheckBlob(tx, repository, digest));
  return TRY(blobs_->Stat(digest)).size;
}

Result<> DirectoryStore::ReadBlob(const std::string& repository, const Digest& digest,
                                  uint64_t offset, uint64_t length, const Take& take) {
  UniqueFd file;
  {
    auto tx = TRY(database_->Read());
    TRY(CheckBlob(tx, repository, digest));
    file = TRY(blobs_->OpenBlob(digest));
  }
  std::string buffer(std::min<uint64_t>(kReadBytes, length), '\0');
  while (length > 0) {
    size_t wanted = std::min<uint64_t>(buffer.size(), length);
    ssize_t got = ::pread(file.get(), buffer.data(), wanted, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return ErrnoError("reading blob {}", digest.text());
    if (got == 0) return MakeError(ErrorKind::kDataLoss, "blob {}: ends early", digest.text());
    TRY(take({buffer.data(), static_cast<size_t>(got)}));
    offset += static_cast<uint64_t>(got);
    length -= static_cast<uint64_t>(got);
  }
  return {};
}

Result<> DirectoryStore::DropBytes(Transaction& tx, const Digest& digest) {
  auto rows = TRY(tx.Query("SELECT 1 FROM blobs WHERE digest = ? LIMIT 1", digest.text()));
  if (TRY(rows.Next())) return {};
  auto deleted = blobs_->Delete(digest);
  if (!deleted.ok() && deleted.error().kind() != ErrorKind::kNotFound) return deleted;
  return {};
}

Result<> DirectoryStore::DeleteBlob(const std::string& repository, const Digest& digest) {
  auto tx = TRY(database_->Begin());
  int gone = TRY(tx.Execute("DELETE FROM blobs WHERE repository = ? AND digest = ?", repository,
                            digest.text()));
  if (gone == 0) return NoBlob(repository, digest);
  TRY(DropBytes(tx, digest));
  return tx.Commit();
}

Result<bool> DirectoryStore::MountBlob(const std::string& repository, const std::string& from,
                                       const Digest& digest) {
  auto tx = TRY(database_->Begin());
  int found = 0;
  if (from.empty()) {
    found = TRY(tx.Execute(
        "INSERT OR REPLACE INTO blobs SELECT ?, digest FROM blobs WHERE digest = ? LIMIT 1",
        repository, digest.text()));
  } else {
    found =
        TRY(tx.Execute("INSERT OR REPLACE INTO blobs "
                       "SELECT ?, digest FROM blobs WHERE repository = ? AND digest = ?",
                       repository, from, digest.text()));
  }
  if (found == 0 || !blobs_->Stat(digest).ok()) return false;
  TRY(tx.Commit());
  return true;
}

Result<StoredManifest> DirectoryStore::GetManifest(const std::string& repository,
                                                   const std::string& reference) {
  auto tx = TRY(database_->Read());
  std::string digest = reference;
  if (reference.find(':') == std::string::npos) {
    auto tags = TRY(tx.Query("SELECT digest FROM tags WHERE repository = ? AND tag = ?", repository,
                             reference));
    if (!TRY(tags.Next())) return NoManifest(repository, reference);
    digest = tags.Text(0);
  }
  auto rows =
      TRY(tx.Query("SELECT media_type, content FROM manifests WHERE repository = ? AND digest = ?",
                   repository, digest));
  if (!TRY(rows.Next())) return NoManifest(repository, reference);
  return StoredManifest{.digest = TRY(Digest::Parse(digest)),
                        .media_type = rows.Text(0),
                        .content = std::string(rows.Bytes(1))};
}

Result<Digest> DirectoryStore::PutManifest(const std::string& repository,
                                           const StoredManifest& manifest,
                                           const std::vector<std::string>& tags) {
  ManifestFacts facts = TRY(ReadManifest(manifest.content, manifest.media_type));
  auto tx = TRY(database_->Begin());
  for (const Digest& blob : facts.blobs) {
    Result<> there = CheckBlob(tx, repository, blob);
    if (!there.ok() && there.error().kind() == ErrorKind::kNotFound) {
      return FailedPrecondition("{}", there.error().message());
    }
    TRY(std::move(there));
  }
  TRY(tx.Execute("INSERT OR REPLACE INTO manifests VALUES(?, ?, ?, ?, ?, ?, ?)", repository,
                 manifest.digest.text(), facts.media_type, records::Blob{manifest.content},
                 facts.subject.text(), facts.artifact_type, AnnotationsText(facts.annotations)));
  for (const std::string& tag : tags) {
    TRY(tx.Execute("INSERT OR REPLACE INTO tags VALUES(?, ?, ?)", repository, tag,
                   manifest.digest.text()));
  }
  TRY(tx.Commit());
  return facts.subject;
}

Result<> DirectoryStore::DeleteManifest(const std::string& repository, const Digest& digest) {
  auto tx = TRY(database_->Begin());
  int gone = TRY(tx.Execute("DELETE FROM manifests WHERE repository = ? AND digest = ?", repository,
                            digest.text()));
  if (gone == 0) return NoManifest(repository, digest.text());
  TRY(tx.Execute("DELETE FROM tags WHERE repository = ? AND digest = ?", repository,
                 digest.text()));
  return tx.Commit();
}

Result<> DirectoryStore::DeleteTag(const std::string& repository, const std::string& tag) {
  auto tx = TRY(database_->Begin());
  int gone = TRY(tx.Execute("DELETE FROM tags WHERE repository = ? AND tag = ?", repository, tag));
  if (gone == 0) return NoManifest(repository, tag);
  return tx.Commit();
}

Result<std::vector<Referrer>> DirectoryStore::Referrers(const std::string& repository,
                                                        const Digest& subject) {
  auto tx = TRY(database_->Read());
  auto rows =
      TRY(tx.Query("SELECT digest, media_type, length(content), artifact_type, annotations "
                   "FROM manifests WHERE repository = ? AND subject = ? ORDER BY digest",
                   repository, subject.text()));
  std::vector<Referrer> referrers;
  while (TRY(rows.Next())) {
    Referrer& referrer = referrers.emplace_back();
    referrer.digest = TRY(Digest::Parse(rows.Text(0)));
    referrer.media_type = rows.Text(1);
    referrer.size = static_cast<uint64_t>(rows.Int(2));
    referrer.artifact_type = rows.Text(3);
    Json annotations = TRY(Json::Parse(rows.Text(4)));
    for (const auto& [key, value] : annotations.members()) {
      referrer.annotations[key] = value.AsString();
    }
  }
  return referrers;
}

}  // namespace gantry::distribution
