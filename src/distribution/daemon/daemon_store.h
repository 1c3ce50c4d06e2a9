// SPDX-License-Identifier: Apache-2.0
//
// The images of a container daemon as a registry's store, to be read: other hosts pull what this
// one has. An image's name is its repository and tag as docker writes them, "team/app" for
// docker.io/team/app, "library/busybox" and "busybox" for docker.io/library/busybox, and
// "quay.io/team/app" as it stands; one whose registry has a port has no repository here.
//
// A blob of any image of the namespace is read by its digest, whichever the repository. Any thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "client/containerd.h"
#include "distribution/store.h"

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
  Result<StoredManifest> GetManifest(const std::string& repository,
                                     const std::string& reference) override;
  // The daemon keeps no list of them: none.
  Result<std::vector<Referrer>> Referrers(const std::string& repository,
                                          const formats::Digest& subject) override;

 private:
  explicit DaemonStore(std::unique_ptr<client::Containerd> daemon) : daemon_(std::move(daemon)) {}

  std::unique_ptr<client::Containerd> daemon_;
};

}  // namespace gantry::distribution
