// SPDX-License-Identifier: Apache-2.0
#include "registry/authorizer.h"

#include <algorithm>
#include <chrono>

#include "base/text.h"
#include "formats/base64.h"
#include "formats/json.h"
#include "wire/challenge.h"
#include "wire/http_status.h"

namespace gantry::registry {
namespace {

using formats::Json;

constexpr std::chrono::seconds kTokenLife{60};  // when the server does not say

std::string BasicHeader(const Credentials& credentials) {
  return "Basic " + formats::EncodeBase64(credentials.username + ":" + credentials.password);
}

std::string ScopeQuery(const std::vector<std::string>& scopes) {
  std::string query;
  for (const std::string& scope : scopes) query += "&scope=" + UrlEncode(scope);
  return query;
}

}  // namespace

Error ErrorOfAnswer(const HttpAnswer& answer) {
  ErrorKind other = answer.status >= 500 ? ErrorKind::kUnavailable : ErrorKind::kUnknown;
  ErrorKind kind = wire::KindOfStatus(answer.status, other);
  auto json = Json::Parse(answer.body);
  if (json.ok()) {
    const Json& first = (*json)["errors"].at(0);
    // "unauthorized: authentication required", as docker and containerd put it.
    std::string message = Lower(first["code"].AsString());
    std::replace(message.begin(), message.end(), '_', ' ');
    std::string text = first["message"].AsString();
    if (!message.empty() && !text.empty()) message += ": ";
    message += text;
    if (message.empty()) message = (*json)["details"].AsString();
    if (!message.empty()) {
      return MakeError(kind, "{} (status {} of the registry)", message.substr(0, 1000),
                       answer.status);
    }
  }
  std::string_view hint = answer.status == 401   ? ": authentication required"
                          : answer.status == 404 ? ": not found"
                                                 : "";
  return MakeError(kind, "the registry answered with status {}{}", answer.status, hint);
}

std::optional<std::string> Authorizer::Cached(const RegistryHost& host,
                                              const std::vector<std::string>& scopes) {
  MutexLock lock(mutex_);
  auto found = grants_.find({host.base, scopes});
  if (found == grants_.end() || found->second.expires <= SteadyClock::now()) return {};
  return found->second.header;
}

Result<std::string> Authorizer::Answer(const RegistryHost& host, const HttpAnswer& refused,
                                       const Credentials& credentials,
                                       const std::vector<std::string>& scopes,
                                       const StopToken& stop) {
  Grant grant = TRY(Ask(host, refused, credentials, scopes, stop));
  std::string header = grant.header;
  MutexLock lock(mutex_);
  grants_[{host.base, scopes}] = std::move(grant);
  return header;
}

Result<Grant> Authorizer::Ask(const RegistryHost& host, const HttpAnswer& refused,
                              const Credentials& credentials,
                              const std::vector<std::string>& scopes, const StopToken& stop) {
  auto forever = SteadyClock::time_point::max();
  if (!credentials.registry_token.empty()) {
    return Grant{"Bearer " + credentials.registry_token, "", forever};
  }
  auto [begin, end] = refused.headers.equal_range("www-authenticate");
  for (auto header = begin; header != end; ++header) {
    auto challenge = wire::ParseChallenge(header->second);
    if (!challenge) continue;
    if (challenge->scheme == "bearer") {
      return FetchToken(host, challenge->parameters, credentials, scopes, stop);
    }
    if (challenge->scheme == "basic" && !credentials.username.empty()) {
      return Grant{BasicHeader(credentials), "", forever};
    }
  }
  return ErrorOfAnswer(refused);
}

Result<Grant> Authorizer::FetchToken(const RegistryHost& host,
                                     const std::map<std::string, std::string>& challenge,
                                     const Credentials& credentials,
                                     const std::vector<std::string>& asked_scopes,
                                     const StopToken& stop) {
  auto parameter = [&](const char* name) {
    auto found = challenge.find(name);
    return found == challenge.end() ? std::string() : found->second;
  };
  std::string realm = parameter("realm");
  bool tls = realm.starts_with("https://");
  // Credentials are not shown in plain text because a registry says so.
  if (!tls && !(realm.starts_with("http://") && (host.insecure || credentials.empty()))) {
    return FailedPrecondition("the registry asks for a token from '{}', which is not safe", realm);
  }
  std::vector<std::string> scopes = asked_scopes;
  if (scopes.empty() && !parameter("scope").empty()) scopes.push_back(parameter("scope"));
  HttpRequest request;
  prepare_(host, &request);
  std::string query = fmt::format("service={}", UrlEncode(parameter("service")));
  if (!credentials.identity_token.empty()) {
    // A form has one scope (RFC 6749 section 3.3), a query as many as there are.
    std::string all;
    for (const std::string& scope : scopes) all += (all.empty() ? "" : " ") + scope;
    if (!all.empty()) query += "&scope=" + UrlEncode(all);
    request.method = "POST";
    request.url = realm;
    request.body = fmt::format("grant_type=refresh_token&client_id=gantry&refresh_token={}&{}",
                               UrlEncode(credentials.identity_token), query);
  } else {
    query += ScopeQuery(scopes);
    if (!credentials.username.empty()) {
      query += "&account=" + UrlEncode(credentials.username);
      request.headers.push_back("Authorization: " + BasicHeader(credentials));
    }
    if (asked_scopes.empty()) query += "&offline_token=true&client_id=gantry";
    request.url = realm + (realm.find('?') == std::string::npos ? "?" : "&") + query;
  }
  HttpAnswer answer = TRY_WITH(http_->Run(request, stop), "fetching a token");
  if (answer.status != 200) {
    Error error = ErrorOfAnswer(answer);
    error.AddContext("fetching a token");
    return error;
  }
  Json json = TRY_WITH(Json::Parse(answer.body), "fetching a token");
  std::string token = json["token"].AsString();
  if (token.empty()) token = json["access_token"].AsString();
  if (token.empty() || token.find_first_of("\r\n") != std::string::npos) {
    return InvalidArgument("fetching a token: there is none in the answer");
  }
  std::chrono::seconds life(json["expires_in"].AsInt(kTokenLife.count()));
  // Renewed a little early, so that it does not run out on the way.
  life = std::clamp(life, kTokenLife, std::chrono::seconds(std::chrono::hours(24))) -
         std::chrono::seconds(5);
  return Grant{"Bearer " + token, json["refresh_token"].AsString(), SteadyClock::now() + life};
}

}  // namespace gantry::registry
