// SPDX-License-Identifier: Apache-2.0
//
// The registry's HTTP side: the endpoints of the OCI distribution-spec 1.1 and docker's
// `/v2/_catalog`, over any Store. Errors have the spec's codes. Any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "distribution/passwords.h"
#include "distribution/store.h"
#include "wire/http_exchange.h"

namespace gantry::distribution {

struct ServiceOptions {
  bool read_only = false;
  Passwords* passwords = nullptr;  // null: nobody is asked
  bool anonymous_pull = false;     // only who writes is asked
  // `ns`, with which a client names the registry that it takes this one for (spec, "Registry
  // Proxying"), is a part of the repository's name.
  bool sources = false;
};

class Service {
 public:
  // Both outlive it.
  Service(Store* store, ServiceOptions options) : store_(store), options_(options) {}

  void Handle(wire::Exchange& exchange);

 private:
  // What a path names: /v2/REPOSITORY/…
  enum class Resource { kBase, kCatalog, kTags, kManifest, kBlob, kUploads, kUpload, kReferrers };
  struct Route {
    Resource resource;
    std::string repository;
    std::string reference;  // tag, digest or id of an upload
  };
  static std::optional<Route> Parse(std::string_view path);
  Result<> Dispatch(wire::Exchange& exchange, const Route& route);
  // Answers by itself when the request may not go on.
  bool Admits(wire::Exchange& exchange);

  Result<> ListRepositories(wire::Exchange& exchange);
  Result<> ListTags(wire::Exchange& exchange, const Route& route);

  Result<> GetManifest(wire::Exchange& exchange, const Route& route);
  Result<> PutManifest(wire::Exchange& exchange, const Route& route);
  Result<> DeleteManifest(wire::Exchange& exchange, const Route& route);
  Result<> ListReferrers(wire::Exchange& exchange, const Route& route);

  Result<> GetBlob(wire::Exchange& exchange, const Route& route);
  Result<> DeleteBlob(wire::Exchange& exchange, const Route& route);

  Result<> BeginUpload(wire::Exchange& exchange, const Route& route);
  Result<> UploadStatus(wire::Exchange& exchange, const Route& route);
  Result<> AppendUpload(wire::Exchange& exchange, const Route& route);
  Result<> FinishUpload(wire::Exchange& exchange, const Route& route);
  Result<> CancelUpload(wire::Exchange& exchange, const Route& route);
  // The body, at the place that Content-Range says. The upload's new size.
  Result<uint64_t> TakeBody(wire::Exchange& exchange, const Route& route);
  Result<> AnswerBlobMade(wire::Exchange& exchange, const std::string& repository,
                          const formats::Digest& digest);
  void SetUploadHeaders(wire::Exchange& exchange, const Route& route, uint64_t size);

  Store* store_;
  const ServiceOptions options_;
};

// {"errors": […]} with the code that an error of this kind has for such a resource.
Result<> RespondError(wire::Exchange& exchange, int status, std::string_view code,
                      std::string_view message);

}  // namespace gantry::distribution
