// SPDX-License-Identifier: Apache-2.0
//
// A client of registries (OCI distribution-spec 1.1) over libcurl: manifests, blobs with ranges,
// Bearer and Basic authentication. HTTPS, except for registries on this machine (localhost,
// 127.0.0.0/8, ::1), where plain HTTP is tried too, and for those named insecure. Any thread; a
// call blocks.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/mutex.h"
#include "base/stop_token.h"
#include "formats/digest.h"
#include "oci/image_spec.h"

namespace gantry::registry {

struct Credentials {
  std::string username;
  std::string password;
  std::string identity_token;  // a refresh token instead of a password
  std::string registry_token;  // sent as it is, as a Bearer token
  bool empty() const {
    return username.empty() && identity_token.empty() && registry_token.empty();
  }
};

struct ClientOptions {
  // Asked once for each host ("docker.io", "localhost:5000") that wants authentication.
  std::function<Result<Credentials>(const std::string& host)> credentials;
  std::set<std::string> insecure_hosts;  // "host:port": plain HTTP and unverified TLS
  std::string ca_file;                   // beside the system's certificates
  std::map<std::string, std::string> headers;
  std::string user_agent = "gantry";
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
  // Whether the credentials are accepted by the registry (`docker login`); the identity token when
  // the registry gave one.
  virtual Result<std::string> CheckCredentials(const std::string& host,
                                               const Credentials& credentials,
                                               const StopToken& stop) = 0;
};

}  // namespace gantry::registry
