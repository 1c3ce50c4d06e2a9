// SPDX-License-Identifier: Apache-2.0
//
// What is sent as Authorization to a registry: answers its challenges with a token of its token
// server, or the name and password themselves; keeps what it got for the next request. Any thread.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/mutex.h"
#include "base/stop_token.h"
#include "registry/hosts.h"
#include "registry/http_transfer.h"

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

struct Grant {
  std::string header;         // value of Authorization
  std::string refresh_token;  // when the token server gave one
  SteadyClock::time_point expires;
};

class Authorizer {
 public:
  // Completes a request for a host: its TLS and time limits.
  using Prepare = std::function<void(const RegistryHost& host, HttpRequest* request)>;
  Authorizer(HttpTransfer* http, Prepare prepare) : http_(http), prepare_(std::move(prepare)) {}

  // What an earlier challenge brought and has not expired.
  std::optional<std::string> Cached(const RegistryHost& host,
                                    const std::vector<std::string>& scopes);
  // Answers the challenge in `refused` and keeps the answer. `scopes`: "repository:a/b:pull,push";
  // none: what the challenge says.
  Result<std::string> Answer(const RegistryHost& host, const HttpAnswer& refused,
                             const Credentials& credentials, const std::vector<std::string>& scopes,
                             const StopToken& stop);
  // The same, kept nowhere.
  Result<Grant> Ask(const RegistryHost& host, const HttpAnswer& refused,
                    const Credentials& credentials, const std::vector<std::string>& scopes,
                    const StopToken& stop);

 private:
  Result<Grant> FetchToken(const RegistryHost& host,
                           const std::map<std::string, std::string>& challenge,
                           const Credentials& credentials,
                           const std::vector<std::string>& asked_scopes, const StopToken& stop);

  HttpTransfer* const http_;
  const Prepare prepare_;
  Mutex mutex_;
  std::map<std::pair<std::string, std::vector<std::string>>, Grant> grants_ GUARDED_BY(mutex_);
};

// "manifest unknown: the tag is not there", from the registry's own words when it has some
// (distribution-spec, "Error Codes").
Error ErrorOfAnswer(const HttpAnswer& answer);

}  // namespace gantry::registry
