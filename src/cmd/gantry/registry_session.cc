// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantry/registry_session.h"

#include <algorithm>
#include <cctype>
#include <optional>

#include "base/io.h"
#include "base/text.h"
#include "cmd/gantry/tls_tunnel.h"
#include "formats/base64.h"
#include "wire/challenge.h"
#include "wire/http_client.h"
#include "wire/url.h"

namespace gantry::cli {
namespace {

constexpr size_t kMaxRegistryAnswer = size_t{8} << 20;
constexpr int kMaxRedirections = 5;

std::string_view NameOf(std::string_view authority) {
  if (authority.starts_with('[')) return authority.substr(0, authority.find(']') + 1);
  return authority.substr(0, authority.find(':'));
}

// Where plain HTTP is tried without being asked for, as docker does.
bool IsThisMachine(std::string_view authority) {
  std::string_view host = NameOf(authority);
  return host == "localhost" || host == "[::1]" || host.starts_with("127.");
}

std::string WithPort(const std::string& authority, bool tls) {
  std::string_view rest = std::string_view(authority).substr(NameOf(authority).size());
  return rest.empty() ? authority + (tls ? ":443" : ":80") : authority;
}

std::string BasicHeader(const Credential& credential) {
  return "Basic " + formats::EncodeBase64(credential.user + ":" + credential.password);
}

// The registry's own words (distribution-spec, "Error Codes"): {"errors":[{"code","message"}]}.
std::string WordsOf(const RegistryAnswer& answer) {
  Result<Json> json = Json::Parse(answer.body);
  if (!json.ok()) return "";
  const Json& error = (*json)["errors"].at(0);
  std::string code = error["code"].AsString();
  for (char& c : code) c = c == '_' ? ' ' : static_cast<char>(std::tolower(c));
  const std::string& message = error["message"].AsString();
  if (code.empty() && message.empty()) return (*json)["details"].AsString();
  return code + (code.empty() || message.empty() ? "" : ": ") + message;
}

Error RefusedBy(const RegistryAnswer& answer, const std::string& what) {
  std::string words = WordsOf(answer);
  if (words.empty()) words = fmt::format("the registry answers {}", answer.status);
  if (answer.status == 401) return MakeError(ErrorKind::kUnauthenticated, "{}: {}", what, words);
  if (answer.status == 404) return NotFound("{}: {}", what, words);
  return MakeError(ErrorKind::kUnavailable, "{}: {}", what, words);
}

}  // namespace

Result<RegistrySession> RegistrySession::Open(Cli& cli, const std::string& domain, bool insecure) {
  Credential credential = TRY(Credentials(TRY(cli.OpenConfig())).Get(RegistryKey(domain)));
  std::string host = domain == "docker.io" ? "registry-1.docker.io" : domain;
  return RegistrySession(std::move(host), std::move(credential), insecure);
}

Result<RegistrySession::Url> RegistrySession::ParseUrl(const std::string& text) {
  Url url;
  url.tls = text.starts_with("https://");
  if (!url.tls && !text.starts_with("http://")) {
    return InvalidArgument("the registry names '{}', which is no address", text);
  }
  size_t begin = text.find("://") + 3;
  size_t path = std::min(text.find('/', begin), text.size());
  url.authority = text.substr(begin, path - begin);
  url.target = path < text.size() ? text.substr(path) : "/";
  return url;
}

Result<RegistryAnswer> RegistrySession::Send(const Url& url, const RegistryRequest& request,
                                             const std::string& authorization) const {
  wire::Endpoint endpoint;
  endpoint.scheme = wire::Endpoint::Scheme::kTcp;
  endpoint.address = WithPort(url.authority, url.tls);
  TlsSettings tls;
  tls.verify = !insecure_;
  std::string ca = fmt::format("/etc/docker/certs.d/{}/ca.crt", url.authority);
  if (PathExists(ca)) tls.ca = ca;
  wire::HttpConnection connection =
      url.tls ? TRY(ConnectTls(endpoint, tls)) : TRY(wire::HttpConnection::Connect(endpoint));
  wire::HttpRequest head;
  head.method = request.method;
  head.target = url.target;
  head.headers.Add("Host", url.authority);
  head.headers.Add("User-Agent", "gantry/" GANTRY_VERSION);
  head.headers.Add("Connection", "close");
  for (const std::string& type : request.accept) head.headers.Add("Accept", type);
  if (!request.content_type.empty()) head.headers.Add("Content-Type", request.content_type);
  if (!authorization.empty()) head.headers.Add("Authorization", authorization);
  TRY(connection.Send(std::move(head), request.body));
  wire::HttpResponse response = TRY(connection.ReceiveHead(request.method));
  RegistryAnswer answer;
  answer.status = response.status;
  answer.headers = std::move(response.headers);
  answer.body = TRY(connection.ReadWholeBody(kMaxRegistryAnswer));
  return answer;
}

// One exchange with the registry itself, and where it sends us on to: credentials go to it alone.
Result<RegistryAnswer> RegistrySession::SendToRegistry(const RegistryRequest& request) {
  Url url{!plain_, host_, request.path};
  Result<RegistryAnswer> answer = Send(url, request, authorization_);
  if (!answer.ok() && url.tls && (insecure_ || IsThisMachine(host_))) {
    url.tls = false;
    Result<RegistryAnswer> plain = Send(url, request, authorization_);
    // What TLS said is of no interest once plain HTTP has been answered.
    if (plain.ok()) {
      plain_ = true;
      answer = std::move(plain);
    }
  }
  for (int i = 0; answer.ok() && i < kMaxRedirections; ++i) {
    int status = answer->status;
    bool moved = status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
    std::string location(answer->headers.Get("Location"));
    if (!moved || request.method != "GET" || location.empty()) break;
    Url next =
        location.starts_with('/') ? Url{url.tls, url.authority, location} : TRY(ParseUrl(location));
    answer = Send(next, request, next.authority == host_ ? authorization_ : "");
    url = next;
  }
  return answer;
}

Result<RegistryAnswer> RegistrySession::Call(const RegistryRequest& request,
                                             const std::string& scope) {
  auto failed = [&](Error error) {
    return std::move(error).AddContext(
        fmt::format("{} \"https://{}{}\"", request.method, host_, request.path));
  };
  Result<RegistryAnswer> answer = SendToRegistry(request);
  if (!answer.ok()) return failed(std::move(answer).error());
  if (answer->status != 401) return answer;
  Result<> authorized = Authorize(*answer, scope);
  if (!authorized.ok()) return failed(std::move(authorized).error());
  answer = SendToRegistry(request);
  if (!answer.ok()) return failed(std::move(answer).error());
  if (answer->status == 401) return failed(RefusedBy(*answer, "unauthorized"));
  return answer;
}

Result<RegistryAnswer> RegistrySession::CallOk(const RegistryRequest& request,
                                               const std::string& scope) {
  RegistryAnswer answer = TRY(Call(request, scope));
  if (answer.status >= 200 && answer.status < 300) return answer;
  return RefusedBy(answer, fmt::format("{} {}{}", request.method, host_, request.path));
}

Result<> RegistrySession::Authorize(const RegistryAnswer& refused, const std::string& scope) {
  if (!credential_.registry_token.empty()) {
    authorization_ = "Bearer " + credential_.registry_token;
    return {};
  }
  for (const auto& field : refused.headers.fields()) {
    if (!wire::EqualsIgnoreCase(field.name, "WWW-Authenticate")) continue;
    std::optional<wire::Challenge> challenge = wire::ParseChallenge(field.value);
    if (!challenge) continue;
    if (challenge->scheme == "bearer") return FetchToken(challenge->parameters, scope);
    if (challenge->scheme == "basic" && !credential_.user.empty()) {
      authorization_ = BasicHeader(credential_);
      return {};
    }
  }
  return RefusedBy(refused, "unauthorized");
}

// From the registry's token server (distribution, "Token Authentication Specification").
Result<> RegistrySession::FetchToken(const std::map<std::string, std::string>& challenge,
                                     const std::string& scope) {
  auto parameter = [&](const char* name) {
    auto found = challenge.find(name);
    return found == challenge.end() ? std::string() : found->second;
  };
  Url url = TRY(ParseUrl(parameter("realm")));
  if (!url.tls && !credential_.empty() && !insecure_ && !plain_) {
    return FailedPrecondition("the registry asks for a token from '{}', which is not safe",
                              parameter("realm"));
  }
  wire::Query query;
  query.Add("service", parameter("service"));
  std::string wanted = scope.empty() ? parameter("scope") : scope;
  RegistryRequest request;
  std::string authorization;
  if (!credential_.identity_token.empty()) {
    query.Add("grant_type", "refresh_token").Add("client_id", "gantry");
    query.Add("refresh_token", credential_.identity_token);
    // A form has one scope (RFC 6749 section 3.3), a query as many as there are.
    if (!wanted.empty()) query.Add("scope", wanted);
    request.method = "POST";
    request.content_type = "application/x-www-form-urlencoded";
    request.body = query.Format();
  } else {
    for (const std::string& each : SplitWords(wanted)) query.Add("scope", each);
    if (!credential_.user.empty()) {
      query.Add("account", credential_.user);
      authorization = BasicHeader(credential_);
    }
    if (scope.empty()) query.Add("offline_token", "true").Add("client_id", "gantry");
    url.target += (url.target.find('?') == std::string::npos ? "?" : "&") + query.Format();
  }
  RegistryAnswer answer = TRY_WITH(Send(url, request, authorization), "fetching a token");
  if (answer.status != 200) return RefusedBy(answer, "fetching a token");
  Json json = TRY_WITH(Json::Parse(answer.body), "reading a token");
  std::string token = json["token"].AsString();
  if (token.empty()) token = json["access_token"].AsString();
  if (token.empty()) return FailedPrecondition("the token server gives no token");
  authorization_ = "Bearer " + token;
  refresh_token_ = json["refresh_token"].AsString();
  return {};
}

Result<std::string> RegistrySession::CheckLogin() {
  RegistryRequest request;
  request.path = "/v2/";
  TRY(CallOk(request, ""));
  return refresh_token_;
}

}  // namespace gantry::cli
