// SPDX-License-Identifier: Apache-2.0
#include "engine/registry_calls.h"

#include <utility>

#include "formats/base64.h"
#include "formats/json.h"
#include "formats/reference.h"
#include "registry/client.h"
#include "registry/hosts.h"
#include "registry/http_transfer.h"

namespace gantry::engine {
namespace {

using formats::Json;

constexpr char kDockerDomain[] = "docker.io";
constexpr char kDockerIndex[] = "index.docker.io";

registry::HostsOptions HostsOf(const Settings& settings) {
  registry::HostsOptions hosts;
  hosts.directory = settings.registry_hosts_directory;
  if (hosts.directory.empty()) {
    for (std::string_view directory : registry::kHostsDirectories) {
      hosts.directory += fmt::format("{}:", directory);
    }
  }
  hosts.insecure = {settings.insecure_registries.begin(), settings.insecure_registries.end()};
  return hosts;
}

registry::Credentials CredentialsOf(const RegistryLogin& login) {
  return {login.username, login.password, login.identity_token, login.registry_token};
}

// "https://index.docker.io/v1/" → "docker.io", "http://host:5000/v2/" → "host:5000".
std::string HostOfServer(std::string server) {
  size_t scheme = server.find("://");
  if (scheme != std::string::npos) server.erase(0, scheme + 3);
  server = server.substr(0, server.find('/'));
  bool docker = server.empty() || server == kDockerIndex || server == "registry-1.docker.io";
  return docker ? kDockerDomain : server;
}

// dockerd has no status for a registry that does not answer.
Error AsServerError(Error error) {
  bool plain = error.kind() == ErrorKind::kUnavailable ||
               error.kind() == ErrorKind::kFailedPrecondition ||
               error.kind() == ErrorKind::kDeadlineExceeded;
  if (plain) error.SetKind(ErrorKind::kUnknown);
  return error;
}

Result<std::vector<oci::Platform>> PlatformsOf(registry::Client& client,
                                               const formats::Reference& name,
                                               const registry::ManifestDocument& document) {
  const std::string& type = document.descriptor.media_type;
  std::vector<oci::Platform> out;
  if (oci::IsIndex(type)) {
    for (const oci::Descriptor& item : TRY(oci::ParseIndex(document.text, type)).manifests) {
      if (item.platform) out.push_back(*item.platform);
    }
    return out;
  }
  oci::Manifest manifest = TRY(oci::ParseManifest(document.text, type));
  std::string text;
  registry::Client::BlobSink sink;
  sink.restart = [&]() -> Result<> {
    text.clear();
    return {};
  };
  sink.write = [&](std::string_view data) -> Result<> {
    if (text.size() + data.size() > oci::kMaxDocumentBytes) {
      return MakeError(ErrorKind::kResourceExhausted, "the image's configuration is too long");
    }
    text.append(data);
    return {};
  };
  TRY(client.GetBlob(name.domain, name.path, manifest.config.digest, 0, sink, StopToken()));
  out.push_back(TRY(oci::ParseImageConfig(text)).platform);
  return out;
}

std::vector<SearchResult> ReadResults(const Json& json) {
  std::vector<SearchResult> out;
  for (const Json& item : json["results"].items()) {
    out.push_back({item["name"].AsString(), item["description"].AsString(),
                   item["star_count"].AsInt(), item["is_official"].AsBool()});
  }
  return out;
}

}  // namespace

Result<std::unique_ptr<registry::Client>> MakeRegistryClient(const Settings& settings,
                                                             const RegistryLogin& login) {
  registry::ClientOptions options;
  options.hosts = HostsOf(settings);
  registry::Credentials credentials = CredentialsOf(login);
  if (!credentials.empty()) {
    options.credentials = [credentials](const std::string&) -> Result<registry::Credentials> {
      return credentials;
    };
  }
  return registry::Client::Create(std::move(options));
}

Result<std::string> CheckLogin(const Settings& settings, const RegistryLogin& login) {
  auto client = TRY(MakeRegistryClient(settings, {}));
  Result<std::string> token = client->CheckCredentials(HostOfServer(login.server_address),
                                                       CredentialsOf(login), StopToken());
  if (!token.ok()) return AsServerError(std::move(token).error());
  return token;
}

Result<DistributionAnswer> InspectDistribution(const Settings& settings, std::string_view name,
                                               const RegistryLogin& login) {
  formats::Reference reference = formats::WithDefaultTag(TRY(formats::ParseReference(name)));
  auto client = TRY(MakeRegistryClient(settings, login));
  std::string what =
      reference.digest.empty() ? reference.tag : std::string(reference.digest.text());
  auto ask = [&]() -> Result<DistributionAnswer> {
    registry::ManifestDocument document =
        TRY(client->GetManifest(reference.domain, reference.path, what, StopToken()));
    return DistributionAnswer{document.descriptor, TRY(PlatformsOf(*client, reference, document))};
  };
  Result<DistributionAnswer> answer = ask();
  if (!answer.ok()) return AsServerError(std::move(answer).error());
  return answer;
}

Result<std::vector<std::string>> ListRemoteTags(const Settings& settings, std::string_view name,
                                                const RegistryLogin& login) {
  formats::Reference reference = TRY(formats::ParseReference(name));
  auto client = TRY(MakeRegistryClient(settings, login));
  Result<std::vector<std::string>> tags =
      client->ListTags(reference.domain, reference.path, StopToken());
  if (!tags.ok()) return AsServerError(std::move(tags).error());
  return tags;
}

Result<std::vector<SearchResult>> SearchIndex(const Settings& settings, const std::string& term,
                                              int64_t limit, const RegistryLogin& login) {
  // As in an image's name, the first part is a host when it can't be anything else.
  size_t slash = term.find('/');
  std::string first = term.substr(0, slash);
  bool named = slash != std::string::npos &&
               (first.find_first_of(".:") != std::string::npos || first == "localhost");
  std::string index = named ? first : kDockerDomain;
  std::string words = named ? term.substr(slash + 1) : term;
  if (index == kDockerDomain || index == kDockerIndex) {
    index = kDockerDomain;
    if (words.starts_with("library/")) words.erase(0, 8);
  }
  registry::RegistryHost host = TRY(registry::FindHosts(HostsOf(settings), index)).back();
  registry::HttpRequest request;
  std::string authority = index == kDockerDomain ? kDockerIndex : index;
  request.url =
      fmt::format("https://{}/v1/search?q={}&n={}", authority, registry::UrlEncode(words), limit);
  request.verify_tls = host.verify_tls;
  request.ca_files = host.ca_files;
  request.client_certificate = host.client_certificate;
  request.client_key = host.client_key;
  request.user_agent = "gantry";
  if (!login.username.empty()) {
    request.headers.push_back("Authorization: Basic " +
                              formats::EncodeBase64(login.username + ":" + login.password));
  }
  registry::HttpTransfer http;
  Result<registry::HttpAnswer> answer = http.Run(request, StopToken());
  if (!answer.ok() && host.may_be_plain) {
    request.url.erase(4, 1);  // https → http
    answer = http.Run(request, StopToken());
  }
  if (!answer.ok()) {
    return AsServerError(std::move(answer).error().AddContext("Get \"" + request.url + "\""));
  }
  if (answer->status != 200) {
    return Error(ErrorKind::kUnknown,
                 fmt::format("Unexpected status code {} from \"{}\"", answer->status, request.url));
  }
  return ReadResults(TRY_WITH(Json::Parse(answer->body), "reading the answer of '{}'", authority));
}

}  // namespace gantry::engine
