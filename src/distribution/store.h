// SPDX-License-Identifier: Apache-2.0
//
// What a registry keeps: repositories with blobs, manifests and tags, and uploads in progress. A
// blob or manifest is seen in the repositories that it was pushed to or mounted into, and nowhere
// else. Any thread; calls block on the disk.
//
// A store that is only read leaves what writes as it is here: kUnimplemented.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/byte_stream.h"
#include "base/error.h"
#include "formats/digest.h"

namespace gantry::distribution {

struct StoredManifest {
  formats::Digest digest;
  std::string media_type;
  std::string content;
};

struct Referrer {
  formats::Digest digest;
  std::string media_type;
  uint64_t size = 0;
  std::string artifact_type;
  std::map<std::string, std::string> annotations;
};

class Store {
 public:
  virtual ~Store() = default;

  // Sorted; those after `after`, at most `limit`.
  virtual Result<std::vector<std::string>> Repositories(const std::string& after, size_t limit) = 0;
  // The same; kNotFound: a repository without a manifest.
  virtual Result<std::vector<std::string>> Tags(const std::string& repository,
                                                const std::string& after, size_t limit) = 0;

  // Bytes; kNotFound.
  virtual Result<uint64_t> BlobSize(const std::string& repository,
                                    const formats::Digest& digest) = 0;
  // Hands over `length` bytes from `offset` on, piece by piece.
  using Take = std::function<Result<>(std::string_view)>;
  virtual Result<> ReadBlob(const std::string& repository, const formats::Digest& digest,
                            uint64_t offset, uint64_t length, const Take& take) = 0;
  virtual Result<> DeleteBlob(const std::string& repository, const formats::Digest& digest);
  // Makes a blob of `from`, or of any repository when that is empty, one of `repository` too. False
  // when it is not there.
  virtual Result<bool> MountBlob(const std::string& repository, const std::string& from,
                                 const formats::Digest& digest);

  // The id of a new upload. Uploads survive a restart; one that nothing was added to for a week is
  // dropped.
  virtual Result<std::string> BeginUpload(const std::string& repository,
                                          formats::DigestAlgorithm algorithm);
  // Bytes so far; kNotFound.
  virtual Result<uint64_t> UploadSize(const std::string& repository, const std::string& id);
  // Appends and returns the new size. kOutOfRange when the upload is not at `offset`, kUnavailable
  // while another request writes. What came before the source failed is kept.
  virtual Result<uint64_t> AppendUpload(const std::string& repository, const std::string& id,
                                        std::optional<uint64_t> offset, ByteSource& data);
  // The upload becomes a blob; kFailedPrecondition when it is not what the digest says: then it is
  // left as it was.
  virtual Result<> FinishUpload(const std::string& repository, const std::string& id,
                                const formats::Digest& digest);
  virtual Result<> CancelUpload(const std::string& repository, const std::string& id);

  // `reference` is a tag or a digest. kNotFound.
  virtual Result<StoredManifest> GetManifest(const std::string& repository,
                                             const std::string& reference) = 0;
  // Also moves the tags to it. kInvalidArgument for a bad manifest, kFailedPrecondition when a blob
  // that it names is not in the repository. The subject that it refers to, or an empty digest.
  virtual Result<formats::Digest> PutManifest(const std::string& repository,
                                              const StoredManifest& manifest,
                                              const std::vector<std::string>& tags);
  // With all tags that lead to it.
  virtual Result<> DeleteManifest(const std::string& repository, const formats::Digest& digest);
  virtual Result<> DeleteTag(const std::string& repository, const std::string& tag);
  // Manifests that have this subject, in the order of their digests.
  virtual Result<std::vector<Referrer>> Referrers(const std::string& repository,
                                                  const formats::Digest& subject) = 0;
};

}  // namespace gantry::distribution
