// SPDX-License-Identifier: Apache-2.0
#include "registry/client.h"

#include <algorithm>
#include <chrono>

#include "base/clock.h"
#include "formats/json.h"
#include "registry/challenge.h"
#include "registry/http_transfer.h"

namespace gantry::registry {
namespace {

using formats::Digest;
using formats::Json;

constexpr std::string_view kDefaultDomain = "docker.io";
constexpr std::string_view kDefaultHost = "registry-1.docker.io";
constexpr std::chrono::seconds kTokenLife{60};  // when the server does not say

// Hosts that plain HTTP is tried for, as docker does.
bool IsLocalHost(std::string_view host) {
  if (host.rfind("[::1]", 0) == 0) return true;
  std::string_view name = host.substr(0, host.rfind(':'));
  return name == "localhost" ||
         (name.rfind("127.", 0) == 0 && std::count(name.begin(), name.end(), '.') == 3);
}

ErrorKind KindOfStatus(int status) {
  switch (status) {
    case 401:
      return ErrorKind::kUnauthenticated;
    case 403:
      return ErrorKind::kPermissionDenied;
    case 404:
      return ErrorKind::kNotFound;
    case 416:
      return ErrorKind::kOutOfRange;
    case 429:
      return ErrorKind::kResourceExhausted;
    default:
      return status >= 500 ? ErrorKind::kUnavailable : ErrorKind::kUnknown;
  }
}

// "manifest unknown: the tag is not there", from the registry's own words when it has some
// (distribution-spec, "Error Codes").
Error ErrorOfAnswer(const HttpAnswer& answer) {
  ErrorKind kind = KindOfStatus(answer.status);
  auto json = Json::Parse(answer.body);
  if (json.ok()) {
    const Json& first = (*json)["errors"].at(0);
    std::string message = first["message"].AsString();
    if (message.empty()) message = first["code"].AsString();
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

std::string AcceptHeader() {
  return fmt::format("Accept: {}, {}, {}, {}, */*", oci::kOciManifest, oci::kOciIndex,
                     oci::kDockerManifest, oci::kDockerManifestList);
}

std::string MediaTypeOf(const HttpAnswer& answer) {
  std::string type = answer.Header("content-type");
  type.resize(std::min(type.size(), type.find_first_of("; ")));
  return type;
}

class CurlClient : public Client {
 public:
  explicit CurlClient(ClientOptions options) : options_(std::move(options)) {}

  Result<oci::Descriptor> Resolve(const std::string& host, const std::string& repository,
                                  const std::string& reference, const StopToken& stop) override {
    HttpAnswer answer = TRY(Ask(
        host, repository,
        {.method = "HEAD", .url = ManifestPath(repository, reference), .headers = {AcceptHeader()}},
        stop));
    auto digest = Digest::Parse(answer.Header("docker-content-digest"));
    std::string length = answer.Header("content-length");
    if (!digest.ok() || length.empty()) {
      return TRY(GetManifest(host, repository, reference, stop)).descriptor;
    }
    oci::Descriptor descriptor{.media_type = MediaTypeOf(answer), .digest = *digest};
    descriptor.size = std::strtoll(length.c_str(), nullptr, 10);
    return descriptor;
  }

  Result<ManifestDocument> GetManifest(const std::string& host, const std::string& repository,
                                       const std::string& reference,
                                       const StopToken& stop) override {
    HttpAnswer answer =
        TRY(Ask(host, repository,
                {.url = ManifestPath(repository, reference), .headers = {AcceptHeader()}}, stop));
    auto wanted = Digest::Parse(reference);
    auto announced = Digest::Parse(answer.Header("docker-content-digest"));
    Digest digest = Digest::Of(answer.body, wanted.ok()      ? wanted->algorithm()
                                            : announced.ok() ? announced->algorithm()
                                                             : formats::DigestAlgorithm::kSha256);
    if (wanted.ok() && digest != *wanted) {
      return MakeError(ErrorKind::kDataLoss, "the registry sent a manifest with digest {}",
                       digest.text());
    }
    if (!wanted.ok() && announced.ok() && digest != *announced) {
      return MakeError(ErrorKind::kDataLoss,
                       "the registry sent a manifest with digest {}, but announced {}",
                       digest.text(), announced->text());
    }
    ManifestDocument document;
    document.descriptor = {.media_type = TRY(ManifestType(answer)),
                           .digest = digest,
                           .size = static_cast<int64_t>(answer.body.size())};
    document.text = std::move(answer.body);
    return document;
  }

  Result<> GetBlob(const std::string& host, const std::string& repository, const Digest& digest,
                   uint64_t offset, const BlobSink& sink, const StopToken& stop) override {
    HttpRequest request{.url = fmt::format("/v2/{}/blobs/{}", repository, digest.text())};
    if (offset > 0) request.headers.push_back(fmt::format("Range: bytes={}-", offset));
    bool restarted = offset == 0;
    request.write = [&](int status, std::string_view data) -> Result<> {
      if (status != 206 && !restarted) {
        TRY(sink.restart());
        restarted = true;
      }
      return sink.write(data);
    };
    TRY(Ask(host, repository, std::move(request), stop));
    return {};
  }

  Result<std::string> CheckCredentials(const std::string& host, const Credentials& credentials,
                                       const StopToken& stop) override {
    HttpRequest request{.url = "/v2/"};
    HttpAnswer answer = TRY(Send(host, request, stop));
    if (answer.status == 200) return std::string();
    if (answer.status != 401) return ErrorOfAnswer(answer);
    Grant grant = TRY(Authorize(host, answer, credentials, "", stop));
    request.headers.push_back("Authorization: " + grant.header);
    answer = TRY(Send(host, request, stop));
    if (answer.status != 200) return ErrorOfAnswer(answer);
    return grant.refresh_token;
  }

 private:
  struct Grant {
    std::string header;  // value of Authorization
    std::string refresh_token;
    SteadyClock::time_point expires;
  };

  static std::string ManifestPath(const std::string& repository, const std::string& reference) {
    return fmt::format("/v2/{}/manifests/{}", repository, reference);
  }

  // Some registries say text/plain or nothing: then the document's own word counts.
  static Result<std::string> ManifestType(const HttpAnswer& answer) {
    std::string type = MediaTypeOf(answer);
    if (oci::IsManifest(type) || oci::IsIndex(type)) return type;
    auto json = Json::Parse(answer.body);
    if (json.ok()) {
      const std::string& own = (*json)["mediaType"].AsString();
      if (oci::IsManifest(own) || oci::IsIndex(own)) return own;
      if ((*json)["schemaVersion"].AsInt() == 1) {
        return Unimplemented("the manifest has docker's schema 1, which is not supported");
      }
      if ((*json)["schemaVersion"].AsInt() == 2) {
        if (json->Find("manifests") != nullptr) return std::string(oci::kOciIndex);
        if (json->Find("layers") != nullptr) return std::string(oci::kOciManifest);
      }
    }
    return InvalidArgument("the registry sent '{}', which is no manifest", type);
  }

  // Asks with what authorisation there is, and once more after a challenge. `request.url` is a
  // path.
  Result<HttpAnswer> Ask(const std::string& host, const std::string& repository,
                         HttpRequest request, const StopToken& stop) {
    std::string scope = fmt::format("repository:{}:pull", repository);
    const size_t plain_headers = request.headers.size();
    if (auto header = CachedGrant(host, scope)) {
      request.headers.push_back("Authorization: " + *header);
    }
    HttpAnswer answer = TRY(Send(host, request, stop));
    if (answer.status == 401) {
      Credentials credentials;
      if (options_.credentials) credentials = TRY(options_.credentials(host));
      Grant grant = TRY(Authorize(host, answer, credentials, scope, stop));
      request.headers.resize(plain_headers);
      request.headers.push_back("Authorization: " + grant.header);
      Remember(host, scope, std::move(grant));
      answer = TRY(Send(host, request, stop));
    }
    if (answer.status < 200 || answer.status > 299) return ErrorOfAnswer(answer);
    return answer;
  }

  // Finds out once for each host whether it speaks TLS.
  Result<HttpAnswer> Send(const std::string& host, HttpRequest request, const StopToken& stop) {
    std::string path = request.url;
    std::string_view authority = host == kDefaultDomain ? kDefaultHost : std::string_view(host);
    bool insecure = options_.insecure_hosts.count(host) != 0;
    request.verify_tls = !insecure;
    request.ca_file = options_.ca_file;
    request.user_agent = options_.user_agent;
    for (const auto& [name, value] : options_.headers) {
      request.headers.push_back(fmt::format("{}: {}", name, value));
    }
    if (!IsPlain(host)) {
      request.url = fmt::format("https://{}{}", authority, path);
      auto answer = http_.Run(request, stop);
      bool no_tls = !answer.ok() && answer.error().kind() == ErrorKind::kFailedPrecondition;
      if (!no_tls || (!insecure && !IsLocalHost(host))) return answer;
    }
    request.url = fmt::format("http://{}{}", authority, path);
    HttpAnswer answer = TRY(http_.Run(request, stop));
    MutexLock lock(mutex_);
    plain_hosts_.insert(host);
    return answer;
  }

  bool IsPlain(const std::string& host) {
    MutexLock lock(mutex_);
    return plain_hosts_.count(host) != 0;
  }

  std::optional<std::string> CachedGrant(const std::string& host, const std::string& scope) {
    MutexLock lock(mutex_);
    auto found = grants_.find({host, scope});
    if (found == grants_.end() || found->second.expires <= SteadyClock::now()) return {};
    return found->second.header;
  }

  void Remember(const std::string& host, const std::string& scope, Grant grant) {
    MutexLock lock(mutex_);
    grants_[{host, scope}] = std::move(grant);
  }

  static std::string BasicHeader(const Credentials& credentials) {
    return "Basic " + Base64(credentials.username + ":" + credentials.password);
  }

  Result<Grant> Authorize(const std::string& host, const HttpAnswer& refused,
                          const Credentials& credentials, const std::string& scope,
                          const StopToken& stop) {
    auto forever = SteadyClock::time_point::max();
    if (!credentials.registry_token.empty()) {
      return Grant{"Bearer " + credentials.registry_token, "", forever};
    }
    auto [begin, end] = refused.headers.equal_range("www-authenticate");
    for (auto header = begin; header != end; ++header) {
      auto challenge = ParseChallenge(header->second);
      if (!challenge) continue;
      if (challenge->scheme == "bearer") {
        return FetchToken(host, *challenge, credentials, scope, stop);
      }
      if (challenge->scheme == "basic" && !credentials.username.empty()) {
        return Grant{BasicHeader(credentials), "", forever};
      }
    }
    return ErrorOfAnswer(refused);
  }

  Result<Grant> FetchToken(const std::string& host, const Challenge& challenge,
                           const Credentials& credentials, const std::string& asked_scope,
                           const StopToken& stop) {
    auto parameter = [&](const char* name) {
      auto found = challenge.parameters.find(name);
      return found == challenge.parameters.end() ? std::string() : found->second;
    };
    std::string realm = parameter("realm");
    bool tls = realm.rfind("https://", 0) == 0;
    // Credentials are not shown in plain text because a registry says so.
    bool may_be_plain = IsLocalHost(host) || options_.insecure_hosts.count(host) != 0;
    if (!tls && !(realm.rfind("http://", 0) == 0 && (may_be_plain || credentials.empty()))) {
      return FailedPrecondition("the registry asks for a token from '{}', which is not safe",
                                realm);
    }
    std::string service = parameter("service");
    std::string scope = asked_scope.empty() ? parameter("scope") : asked_scope;
    HttpRequest request{.verify_tls = options_.insecure_hosts.count(host) == 0,
                        .ca_file = options_.ca_file,
                        .user_agent = options_.user_agent};
    std::string query = fmt::format("service={}", UrlEncode(service));
    if (!scope.empty()) query += "&scope=" + UrlEncode(scope);
    if (!credentials.identity_token.empty()) {
      request.method = "POST";
      request.url = realm;
      request.body = fmt::format("grant_type=refresh_token&client_id=gantry&refresh_token={}&{}",
                                 UrlEncode(credentials.identity_token), query);
    } else {
      if (!credentials.username.empty()) {
        query += "&account=" + UrlEncode(credentials.username);
        request.headers.push_back("Authorization: " + BasicHeader(credentials));
      }
      if (asked_scope.empty()) query += "&offline_token=true&client_id=gantry";
      request.url = realm + (realm.find('?') == std::string::npos ? "?" : "&") + query;
    }
    HttpAnswer answer = TRY_WITH(http_.Run(request, stop), "fetching a token");
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

  const ClientOptions options_;
  HttpTransfer http_;
  Mutex mutex_;
  std::set<std::string> plain_hosts_ GUARDED_BY(mutex_);
  std::map<std::pair<std::string, std::string>, Grant> grants_ GUARDED_BY(mutex_);
};

}  // namespace

Result<std::unique_ptr<Client>> Client::Create(ClientOptions options) {
  return std::unique_ptr<Client>(std::make_unique<CurlClient>(std::move(options)));
}

}  // namespace gantry::registry
