// SPDX-License-Identifier: Apache-2.0
//
// A client of registries (OCI distribution-spec 1.1) over libcurl: manifests, blobs with ranges,
// uploads, Bearer and Basic authentication, mirrors. HTTPS, except for registries on this machine
// (localhost, 127.0.0.0/8, ::1), where plain HTTP is tried too, and for those named insecure. Of
// several hosts (hosts.h) one after the other is asked until one has what is wanted. Any thread; a
// call blocks.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/stop_token.h"
#include "formats/digest.h"
#include "oci/image_spec.h"
#include "registry/authorizer.h"
#include "registry/hosts.h"
#include "registry/http_transfer.h"

namespace gantry::registry {

struct ClientOptions {
  // Asked once for each host ("docker.io", "localhost:5000") that wants authentication.
  std::function<Result<Credentials>(const std::string& host)> credentials;
  HostsOptions hosts;
  std::map<std::string, std::string> headers;
  std::string user_agent = "gantry";
  // A transfer that stands still for this long is broken.
  std::chrono::seconds stall_timeout{60};
};

struct ManifestDocument {
  oci::Descriptor descriptor;  // media type, digest (verified) and size
  std::string text;
};

class Client {
 public:
  static Result<std::unique_ptr<Client>> Create(ClientOptions options);
  virtual ~Client() = default;

  // `host` and `repository` of a normalised reference ("docker.io", "library/busybox");
  // `reference` is a tag or a digest. kNotFound, kUnauthenticated, kPermissionDenied, kUnavailable.
  virtual Result<oci::Descriptor> Resolve(const std::string& host, const std::string& repository,
                                          const std::string& reference, const StopToken& stop) = 0;
  virtual Result<ManifestDocument> GetManifest(const std::string& host,
                                               const std::string& repository,
                                               const std::string& reference,
                                               const StopToken& stop) = 0;
  // Streams a blob from `offset` on into `write`; `restart` is called first when the registry
  // ignored the offset and sends from the beginning. Digests are the caller's business.
  struct BlobSink {
    std::function<Result<>()> restart;
    std::function<Result<>(std::string_view data)> write;
  };
  virtual Result<> GetBlob(const std::string& host, const std::string& repository,
                           const formats::Digest& digest, uint64_t offset, const BlobSink& sink,
                           const StopToken& stop) = 0;
  // The same of a layer that its descriptor says is at a URL (image-spec, descriptor, "urls"),
  // which is asked without credentials.
  virtual Result<> GetForeignBlob(const std::string& url, uint64_t offset, const BlobSink& sink,
                                  const StopToken& stop) = 0;
  // These bytes of a blob; kOutOfRange when the registry does not send parts.
  virtual Result<std::string> GetBlobRange(const std::string& host, const std::string& repository,
                                           const formats::Digest& digest, uint64_t offset,
                                           uint64_t size, const StopToken& stop) = 0;

  // A blob on its way up, read as often as it takes.
  struct BlobUpload {
    formats::Digest digest;
    HttpUpload body;
    // Repositories of this registry that have the blob already; the first one is tried.
    std::vector<std::string> mount_from;
  };
  enum class Pushed { kUploaded, kMounted, kExists };
  virtual Result<Pushed> PushBlob(const std::string& host, const std::string& repository,
                                  const BlobUpload& blob, const StopToken& stop) = 0;
  // `reference` is a tag or the document's digest. A document that is there already is left alone.
  virtual Result<Pushed> PushManifest(const std::string& host, const std::string& repository,
                                      const std::string& reference,
                                      const ManifestDocument& document, const StopToken& stop) = 0;
  // All tags of a repository, however many answers it takes (end-8b). kResourceExhausted: more than
  // anybody has.
  virtual Result<std::vector<std::string>> ListTags(const std::string& host,
                                                    const std::string& repository,
                                                    const StopToken& stop) = 0;
  // Whether the credentials are accepted by the registry (`docker login`); the identity token when
  // the registry gave one.
  virtual Result<std::string> CheckCredentials(const std::string& host,
                                               const Credentials& credentials,
                                               const StopToken& stop) = 0;
};

}  // namespace gantry::registry
