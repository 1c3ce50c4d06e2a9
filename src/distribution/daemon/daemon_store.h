// SPDX-License-Identifier: Apache-2.0
//
// The images of a container daemon as a registry's store: other hosts pull what this one has, and
// what they push becomes an image of it. An image's name is its repository and tag as docker writes
// them, "team/app" for docker.io/team/app, "library/busybox" and "busybox" for
// docker.io/library/busybox, and "quay.io/team/app" as it stands; one whose registry has a port has
// no repository here.
//
// Nothing is kept here: images, leases and the labels of blobs are the record, all in the daemon.
//
//   an upload       a write of the daemon named as its lease, "registry/REPOSITORY/upload/ID"
//   a blob that no  a lease "registry/REPOSITORY@DIGEST/ID"; both kinds expire after a week, and
//   manifest names  have the label kRepositoryLabel
//   a tag           the image REPOSITORY:TAG
//   a manifest      the image REPOSITORY@DIGEST, but for one of these:
//   without a tag     one that an index names, which is kept by that
//                     one with a subject, which is kept by the subject (kSubjectLabel)
//
// A blob of any image of the namespace is read by its digest, whichever the repository. Any thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "client/containerd.h"
#include "distribution/store.h"
#include "distribution/uploads.h"

namespace gantry::distribution {

class DaemonStore : public Store {
 public:
  // `address`: the daemon's socket. kUnavailable: nobody answers there.
  static Result<std::unique_ptr<DaemonStore>> Open(const std::string& address,
                                                   const std::string& name_space);

  Result<std::vector<std::string>> Repositories(const std::string& after, size_t limit) override;
  Result<std::vector<std::string>> Tags(const std::string& repository, const std::string& after,
                                        size_t limit) override;
  Result<uint64_t> BlobSize(const std::string& repository, const formats::Digest& digest) override;
  Result<> ReadBlob(const std::string& repository, const formats::Digest& digest, uint64_t offset,
                    uint64_t length, const Take& take) override;
  // Of one that was pushed and that no manifest names, in all repositories; kUnimplemented for one
  // that an image has.
  Result<> DeleteBlob(const std::string& repository, const formats::Digest& digest) override;
  // `from` does not matter, since all blobs are read in all repositories.
  Result<bool> MountBlob(const std::string& repository, const std::string& from,
                         const formats::Digest& digest) override;
  // The algorithm does not matter: the daemon hashes again for another one.
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
  // A tag's former manifest stays, by its digest.
  Result<formats::Digest> PutManifest(const std::string& repository, const StoredManifest& manifest,
                                      const std::vector<std::string>& tags) override;
  // kUnimplemented for one that another manifest names.
  Result<> DeleteManifest(const std::string& repository, const formats::Digest& digest) override;
  // The manifest stays, by its digest.
  Result<> DeleteTag(const std::string& repository, const std::string& tag) override;
  Result<std::vector<Referrer>> Referrers(const std::string& repository,
                                          const formats::Digest& subject) override;

 private:
  using Writer = std::unique_ptr<client::BlobWriter>;

  explicit DaemonStore(std::unique_ptr<client::Containerd> daemon) : daemon_(std::move(daemon)) {}

  // daemon_uploads.cc. An upload is known by its lease's id. Gives it to one request; kNotFound,
  // kUnavailable.
  Result<Writer> TakeUpload(const std::string& lease);
  // A lease that keeps a blob for its manifest.
  Result<std::string> HoldBlob(const std::string& repository, const formats::Digest& digest);
  Result<std::vector<std::string>> HoldersOf(const std::string& repository,
                                             const formats::Digest& digest);

  // daemon_manifests.cc
  Result<> NameManifest(const std::string& prefix, const StoredManifest& manifest,
                        const std::vector<std::string>& tags, bool kept_otherwise);
  Result<> DropChildNames(const std::string& prefix, const std::vector<formats::Digest>& children);
  Result<std::vector<client::Image>> ImagesOf(const std::string& prefix,
                                              const formats::Digest& digest);

  std::unique_ptr<client::Containerd> daemon_;
  OpenUploads<client::BlobWriter> uploads_;
};

// What a repository's name stands for; the names of images have a tag or digest behind it.
// kInvalidArgument: no image can have that name.
Result<std::string> ImagePrefix(const std::string& repository);

}  // namespace gantry::distribution
