// SPDX-License-Identifier: Apache-2.0
//
// A registry as the command line speaks to it by itself, for `manifest` and for `login` where no
// daemon answers (OCI distribution-spec 1.1). Documents only: blobs are the daemon's business. The
// daemon's own client (src/registry) would cost every start of the program the loading of OpenSSL.
// One thread.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "cmd/gantry/cli.h"
#include "cmd/gantry/credentials.h"
#include "wire/http_message.h"

namespace gantry::cli {

struct RegistryRequest {
  std::string method = "GET";
  std::string path;  // "/v2/a/manifests/latest"
  std::vector<std::string> accept;
  std::string content_type;
  std::string body;
};

struct RegistryAnswer {
  int status = 0;
  wire::HttpHeaders headers;
  std::string body;
};

class RegistrySession {
 public:
  // `host` is where the registry's API is ("registry-1.docker.io"). Plain HTTP is tried at this
  // machine and, with `insecure`, everywhere; then certificates are not looked at either.
  RegistrySession(std::string host, Credential credential, bool insecure)
      : host_(std::move(host)), credential_(std::move(credential)), insecure_(insecure) {}
  // With what the user has for it; kUnauthenticated and the like come with the first call.
  static Result<RegistrySession> Open(Cli& cli, const std::string& domain, bool insecure);

  // Follows redirections and answers a challenge, for `scope` ("repository:a:pull"; "": whatever is
  // asked for). Any status but 401 is an answer.
  Result<RegistryAnswer> Call(const RegistryRequest& request, const std::string& scope);
  // The same; a status other than those of success is an error in the registry's words.
  Result<RegistryAnswer> CallOk(const RegistryRequest& request, const std::string& scope);

  // Whether the registry takes the credentials; its identity token, if it gives one.
  Result<std::string> CheckLogin();

 private:
  struct Url {
    bool tls = true;
    std::string authority;  // host[:port]
    std::string target;     // path and query
  };
  static Result<Url> ParseUrl(const std::string& text);
  Result<RegistryAnswer> Send(const Url& url, const RegistryRequest& request,
                              const std::string& authorization) const;
  Result<RegistryAnswer> SendToRegistry(const RegistryRequest& request);
  Result<> Authorize(const RegistryAnswer& refused, const std::string& scope);
  Result<> FetchToken(const std::map<std::string, std::string>& challenge,
                      const std::string& scope);

  std::string host_;
  Credential credential_;
  bool insecure_;
  bool plain_ = false;  // found out to be without TLS
  std::string authorization_;
  std::string refresh_token_;
};

}  // namespace gantry::cli
