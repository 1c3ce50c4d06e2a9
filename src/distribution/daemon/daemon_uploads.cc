// SPDX-License-Identifier: Apache-2.0
//
// The uploads of a DaemonStore, and its blobs that no manifest names yet.
#include <fmt/format.h>

#include "distribution/daemon/daemon_store.h"

namespace gantry::distribution {
namespace {

using client::Containerd;
using formats::Digest;

constexpr const char* kRepositoryLabel = "org.gantry.registry.repository";

std::string UploadLease(const std::string& repository, const std::string& id) {
  return fmt::format("registry/{}/upload/{}", repository, id);
}
std::string BlobLeases(const std::string& repository, const Digest& digest) {
  return fmt::format("registry/{}@{}/", repository, digest.text());
}

Error NoUpload(const std::string& lease) {
  return NotFound("upload {} is not known", lease.substr(lease.rfind('/') + 1));
}

}  // namespace

Result<std::string> DaemonStore::BeginUpload(const std::string& repository,
                                             formats::DigestAlgorithm) {
  TRY(ImagePrefix(repository));
  std::string id = MakeUploadId();
  std::string lease = UploadLease(repository, id);
  TRY(daemon_->CreateLease(lease, Containerd::LeaseLife::kWeek, {{kRepositoryLabel, repository}}));
  auto writer = daemon_->ResumeBlob(lease, lease);
  if (!writer.ok()) {
    TRY(daemon_->DeleteLease(lease));
    return std::move(writer).error();
  }
  uploads_.GiveBack(lease, *std::move(writer));
  return id;
}

Result<uint64_t> DaemonStore::UploadSize(const std::string& repository, const std::string& id) {
  std::string lease = UploadLease(repository, id);
  auto size = daemon_->WrittenSize(lease);
  if (!size.ok() && size.error().kind() == ErrorKind::kNotFound) return NoUpload(lease);
  return size;
}

Result<DaemonStore::Writer> DaemonStore::TakeUpload(const std::string& lease) {
  // ResumeBlob would begin one that is not there.
  auto size = daemon_->WrittenSize(lease);
  if (!size.ok() && size.error().kind() == ErrorKind::kNotFound) return NoUpload(lease);
  TRY(std::move(size));
  Writer open = TRY(uploads_.Take(lease));
  if (open != nullptr) return open;
  // Of an earlier process, or closed since it was idle.
  auto writer = daemon_->ResumeBlob(lease, lease);
  if (!writer.ok()) uploads_.Forget(lease);
  return writer;
}

Result<uint64_t> DaemonStore::AppendUpload(const std::string& repository, const std::string& id,
                                           std::optional<uint64_t> offset, ByteSource& data) {
  std::string lease = UploadLease(repository, id);
  Writer writer = TRY(TakeUpload(lease));
  Result<> written;  // of the daemon's part
  auto appended = [&]() -> Result<> {
    if (offset && *offset != writer->offset()) {
      return MakeError(ErrorKind::kOutOfRange, "upload {} is at {}, not at {}", id,
                       writer->offset(), *offset);
    }
    for (;;) {
      std::string_view piece = TRY(data.Next());
      if (piece.empty()) return {};
      written = writer->Write(piece);
      if (!written.ok()) return {};
    }
  }();
  uint64_t size = writer->offset();
  if (written.ok()) {
    uploads_.GiveBack(lease, std::move(writer));
  } else {
    uploads_.Forget(lease);  // its stream has ended
  }
  TRY(std::move(appended));
  TRY(std::move(written));
  return size;
}

Result<> DaemonStore::FinishUpload(const std::string& repository, const std::string& id,
                                   const Digest& digest) {
  std::string lease = UploadLease(repository, id);
  Writer writer = TRY(TakeUpload(lease));
  Result<> committed = writer->CommitAs(digest.text(), {});
  // Either way its stream has ended; what is not that digest is there for another try.
  writer.reset();
  uploads_.Forget(lease);
  if (!committed.ok() && committed.error().kind() == ErrorKind::kFailedPrecondition) {
    return FailedPrecondition("upload {}: {}", id, committed.error().message());
  }
  TRY(std::move(committed));
  // The upload's lease holds the blob until another one does.
  TRY(HoldBlob(repository, digest));
  return daemon_->DeleteLease(lease);
}

Result<> DaemonStore::CancelUpload(const std::string& repository, const std::string& id) {
  std::string lease = UploadLease(repository, id);
  Writer writer = TRY(TakeUpload(lease));
  Result<> aborted = daemon_->AbortWrite(lease);
  writer.reset();
  uploads_.Forget(lease);
  if (!aborted.ok() && aborted.error().kind() != ErrorKind::kNotFound) return aborted;
  return daemon_->DeleteLease(lease);
}

Result<std::string> DaemonStore::HoldBlob(const std::string& repository, const Digest& digest) {
  std::string lease = BlobLeases(repository, digest) + MakeUploadId();
  TRY(daemon_->CreateLease(lease, Containerd::LeaseLife::kWeek, {{kRepositoryLabel, repository}}));
  TRY(daemon_->AddToLease(lease, "content", digest.text()));
  return lease;
}

Result<std::vector<std::string>> DaemonStore::HoldersOf(const std::string& repository,
                                                        const Digest& digest) {
  std::string prefix = BlobLeases(repository, digest);
  auto leases = TRY(daemon_->FindLeases(kRepositoryLabel, repository));
  std::erase_if(leases, [&](const std::string& id) { return !id.starts_with(prefix); });
  return leases;
}

Result<bool> DaemonStore::MountBlob(const std::string& repository, const std::string&,
                                    const Digest& digest) {
  TRY(ImagePrefix(repository));
  // Held first, so that it is still there afterwards.
  std::string lease = TRY(HoldBlob(repository, digest));
  auto blob = daemon_->GetBlob(digest.text());
  if (blob.ok()) return true;
  TRY(daemon_->DeleteLease(lease));
  if (blob.error().kind() == ErrorKind::kNotFound) return false;
  return std::move(blob).error();
}

Result<> DaemonStore::DeleteBlob(const std::string&, const Digest& digest) {
  TRY(daemon_->GetBlob(digest.text()));
  auto holders = TRY(daemon_->ListLeases());
  std::erase_if(holders, [&](const std::string& id) {
    return !id.starts_with("registry/") || id.find("@" + digest.text() + "/") == id.npos;
  });
  if (holders.empty()) {
    return Unimplemented("blob {} is a part of an image, and goes with that", digest.text());
  }
  for (const std::string& lease : holders) {
    TRY(daemon_->DeleteLease(lease, /*collect=*/lease == holders.back()));
  }
  return {};
}

}  // namespace gantry::distribution
