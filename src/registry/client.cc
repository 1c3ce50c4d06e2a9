// SPDX-License-Identifier: Apache-2.0
#include "registry/client.h"

#include <time.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <set>

#include "base/log.h"
#include "base/mutex.h"
#include "base/number.h"
#include "formats/json.h"
#include "registry/upload.h"

namespace gantry::registry {
namespace {

using formats::Digest;
using formats::Json;

std::string AcceptHeader() {
  return fmt::format("Accept: {}, {}, {}, {}, */*", oci::kOciManifest, oci::kOciIndex,
                     oci::kDockerManifest, oci::kDockerManifestList);
}

std::string MediaTypeOf(const HttpAnswer& answer) {
  std::string type = answer.Header("content-type");
  type.resize(std::min(type.size(), type.find_first_of("; ")));
  return type;
}

// What one request may wait in all for a registry that asks for it.
constexpr std::chrono::seconds kRetryPatience{120};
constexpr int kTagsPerPage = 1000;
constexpr size_t kMaxTags = 100'000;

// RFC 9110 section 10.2.3: seconds, or the time when.
std::optional<std::chrono::seconds> RetryAfter(const HttpAnswer& answer) {
  if (answer.status != 429 && answer.status != 503) return std::nullopt;
  std::string text = answer.Header("retry-after");
  auto seconds = ParseNumber<int64_t>(text);
  if (auto time = ParseHttpDate(text)) seconds = std::max<int64_t>(*time - ::time(nullptr), 0);
  if (!seconds || *seconds < 0) return std::nullopt;
  // At least one, so that "0" is no way to be asked without end.
  return std::chrono::seconds(std::max<int64_t>(*seconds, 1));
}

class CurlClient : public Client {
 public:
  explicit CurlClient(ClientOptions options)
      : options_(std::move(options)),
        authorizer_(&http_, [this](const RegistryHost& host, HttpRequest* request) {
          Prepare(host, request);
        }) {}

  Result<oci::Descriptor> Resolve(const std::string& host, const std::string& repository,
                                  const std::string& reference, const StopToken& stop) override {
    return OnHosts(
        host, Need::kResolve, stop, [&](const RegistryHost& where) -> Result<oci::Descriptor> {
          HttpRequest request{.method = "HEAD",
                              .url = ManifestPath(repository, reference),
                              .headers = {AcceptHeader()}};
          HttpAnswer answer = TRY(Ask(where, host, PullScope(repository), request, stop));
          auto digest = Digest::Parse(answer.Header("docker-content-digest"));
          std::string length = answer.Header("content-length");
          if (!digest.ok() || length.empty()) {
            return TRY(GetManifestOf(where, host, repository, reference, stop)).descriptor;
          }
          oci::Descriptor descriptor{.media_type = MediaTypeOf(answer), .digest = *digest};
          descriptor.size = std::strtoll(length.c_str(), nullptr, 10);
          return descriptor;
        });
  }

  Result<ManifestDocument> GetManifest(const std::string& host, const std::string& repository,
                                       const std::string& reference,
                                       const StopToken& stop) override {
    Need need = Digest::Parse(reference).ok() ? Need::kPull : Need::kResolve;
    return OnHosts(host, need, stop, [&](const RegistryHost& where) {
      return GetManifestOf(where, host, repository, reference, stop);
    });
  }

  Result<> GetBlob(const std::string& host, const std::string& repository, const Digest& digest,
                   uint64_t offset, const BlobSink& sink, const StopToken& stop) override {
    bool touched = false;
    return OnHosts(host, Need::kPull, stop, [&](const RegistryHost& where) -> Result<> {
      // Another host would have to go on where this one broke off: the next call does that.
      if (touched) return Unavailable("the mirror broke off");
      HttpRequest request{.url = BlobPath(repository, digest)};
      if (offset > 0) request.headers.push_back(fmt::format("Range: bytes={}-", offset));
      bool restarted = offset == 0;
      request.write = [&](int status, std::string_view data) -> Result<> {
        touched = true;
        if (status != 206 && !restarted) {
          TRY(sink.restart());
          restarted = true;
        }
        return sink.write(data);
      };
      TRY(Ask(where, host, PullScope(repository), std::move(request), stop));
      return {};
    });
  }

  Result<> GetForeignBlob(const std::string& url, uint64_t offset, const BlobSink& sink,
                          const StopToken& stop) override {
    if (!url.starts_with("https://") && !url.starts_with("http://")) {
      return InvalidArgument("'{}' is neither http nor https", url);
    }
    HttpRequest request{.url = url};
    Prepare(RegistryHost(), &request);
    if (offset > 0) request.headers.push_back(fmt::format("Range: bytes={}-", offset));
    bool restarted = offset == 0;
    request.write = [&](int status, std::string_view data) -> Result<> {
      if (status != 206 && !restarted) TRY(sink.restart());
      restarted = true;
      return sink.write(data);
    };
    HttpAnswer answer = TRY(http_.Run(request, stop));
    if (answer.status < 200 || answer.status > 299) return ErrorOfAnswer(answer);
    return {};
  }

  Result<std::string> GetBlobRange(const std::string& host, const std::string& repository,
                                   const Digest& digest, uint64_t offset, uint64_t size,
                                   const StopToken& stop) override {
    return OnHosts(host, Need::kPull, stop, [&](const RegistryHost& where) -> Result<std::string> {
      HttpRequest request{.url = BlobPath(repository, digest)};
      request.headers.push_back(fmt::format("Range: bytes={}-{}", offset, offset + size - 1));
      std::string part;
      part.reserve(size);
      request.write = [&](int status, std::string_view data) -> Result<> {
        if (status != 206) return MakeError(ErrorKind::kOutOfRange, "the registry sends no parts");
        if (data.size() > size - part.size()) {
          return InvalidArgument("the registry sends more than the {} bytes asked for", size);
        }
        part.append(data);
        return {};
      };
      TRY(Ask(where, host, PullScope(repository), std::move(request), stop));
      if (part.size() != size)
        return Unavailable("the registry sent {} of {} bytes", part.size(), size);
      return part;
    });
  }

  Result<Pushed> PushBlob(const std::string& host, const std::string& repository,
                          const BlobUpload& blob, const StopToken& stop) override {
    return OnHosts(host, Need::kPush, stop, [&](const RegistryHost& where) {
      return PushBlobTo(where, host, repository, blob, stop);
    });
  }

  Result<Pushed> PushManifest(const std::string& host, const std::string& repository,
                              const std::string& reference, const ManifestDocument& document,
                              const StopToken& stop) override {
    return OnHosts(host, Need::kPush, stop, [&](const RegistryHost& where) {
      return PushManifestTo(where, host, repository, reference, document, stop);
    });
  }

  Result<std::vector<std::string>> ListTags(const std::string& host, const std::string& repository,
                                            const StopToken& stop) override {
    return OnHosts(host, Need::kResolve, stop,
                   [&](const RegistryHost& where) -> Result<std::vector<std::string>> {
                     std::vector<std::string> tags;
                     std::string page = fmt::format("/{}/tags/list?n={}", repository, kTagsPerPage);
                     while (!page.empty()) {
                       HttpRequest request{.url = page};
                       HttpAnswer answer =
                           TRY(Ask(where, host, PullScope(repository), std::move(request), stop));
                       Json json = TRY_WITH(Json::Parse(answer.body), "listing tags");
                       for (const Json& tag : json["tags"].items()) tags.push_back(tag.AsString());
                       if (tags.size() > kMaxTags) {
                         return MakeError(ErrorKind::kResourceExhausted,
                                          "the repository has more than {} tags", kMaxTags);
                       }
                       std::string next = NextPage(answer.Header("link"), where);
                       // One that leads to itself has no end.
                       page = next == page || json["tags"].size() == 0 ? "" : next;
                     }
                     return tags;
                   });
  }

  Result<std::string> CheckCredentials(const std::string& host, const Credentials& credentials,
                                       const StopToken& stop) override {
    const RegistryHost where = TRY(FindHosts(options_.hosts, host)).back();
    HttpRequest request{.url = "/"};
    HttpAnswer answer = TRY(Send(where, host, request, stop));
    if (answer.status == 200) return std::string();
    if (answer.status != 401) return ErrorOfAnswer(answer);
    Grant grant = TRY(authorizer_.Ask(where, answer, credentials, {}, stop));
    request.headers.push_back("Authorization: " + grant.header);
    answer = TRY(Send(where, host, request, stop));
    if (answer.status != 200) return ErrorOfAnswer(answer);
    return grant.refresh_token;
  }

 private:
  enum class Need { kPull, kResolve, kPush };
  using Scopes = std::vector<std::string>;

  // `<URL>; rel="next"` (RFC 8288), below the host's base; "" when there is none, or it is
  // elsewhere.
  static std::string NextPage(const std::string& link, const RegistryHost& where) {
    size_t end = link.find('>');
    if (!link.starts_with('<') || end == std::string::npos ||
        link.find("rel=\"next\"", end) == std::string::npos) {
      return "";
    }
    std::string url = link.substr(1, end - 1);
    if (size_t scheme = url.find("://"); scheme != std::string::npos) {
      if (!SameAuthority(url, where)) return "";
      size_t path = url.find('/', scheme + 3);
      url = path == std::string::npos ? "" : url.substr(path);
    }
    std::string root = where.base.substr(where.base.find('/', where.base.find("://") + 3));
    return url.starts_with(root + "/") ? url.substr(root.size()) : "";
  }

  // Below the host's base.
  static std::string ManifestPath(const std::string& repository, const std::string& reference) {
    return fmt::format("/{}/manifests/{}", repository, reference);
  }
  static std::string BlobPath(const std::string& repository, const Digest& digest) {
    return fmt::format("/{}/blobs/{}", repository, digest.text());
  }
  static Scopes PullScope(const std::string& repository) {
    return {fmt::format("repository:{}:pull", repository)};
  }
  static Scopes PushScope(const std::string& repository) {
    return {fmt::format("repository:{}:pull,push", repository)};
  }

  // Runs `attempt` on one host after the other; the last error when none of them can do it.
  template <typename F>
  auto OnHosts(const std::string& host, Need need, const StopToken& stop, F&& attempt)
      -> decltype(attempt(std::declval<const RegistryHost&>())) {
    std::vector<RegistryHost> hosts = TRY(FindHosts(options_.hosts, host));
    std::erase_if(hosts, [&](const RegistryHost& one) {
      return !(need == Need::kPull ? one.pull : need == Need::kPush ? one.push : one.resolve);
    });
    if (hosts.empty()) {
      return FailedPrecondition("no host is configured for '{}' that may be used for this", host);
    }
    for (size_t i = 0;; ++i) {
      bool last = i + 1 == hosts.size();
      if (!last && IsDown(hosts[i])) continue;
      auto result = attempt(hosts[i]);
      if (result.ok() || last || stop.stop_requested()) return result;
      // What is merely not there may be there another time.
      if (result.error().kind() != ErrorKind::kNotFound) SetDown(hosts[i]);
    }
  }
  bool IsDown(const RegistryHost& host) {
    MutexLock lock(mutex_);
    return down_.contains(host.base);
  }
  void SetDown(const RegistryHost& host) {
    MutexLock lock(mutex_);
    down_.insert(host.base);
  }

  Result<ManifestDocument> GetManifestOf(const RegistryHost& where, const std::string& host,
                                         const std::string& repository,
                                         const std::string& reference, const StopToken& stop) {
    HttpRequest request{.url = ManifestPath(repository, reference), .headers = {AcceptHeader()}};
    HttpAnswer answer = TRY(Ask(where, host, PullScope(repository), std::move(request), stop));
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

  // HEAD, then POST (which may mount it from another repository), then the bytes
  // (distribution-spec, "Pushing blobs").
  Result<Pushed> PushBlobTo(const RegistryHost& where, const std::string& host,
                            const std::string& repository, const BlobUpload& blob,
                            const StopToken& stop) {
    Scopes scopes = PushScope(repository);
    HttpRequest head{.method = "HEAD", .url = BlobPath(repository, blob.digest)};
    auto exists = Ask(where, host, scopes, std::move(head), stop);
    if (exists.ok()) return Pushed::kExists;
    if (exists.error().kind() != ErrorKind::kNotFound) return std::move(exists).error();

    std::string start = fmt::format("/{}/blobs/uploads/", repository);
    std::optional<HttpAnswer> session;
    if (!blob.mount_from.empty()) {
      Scopes wider = scopes;
      wider.push_back(PullScope(blob.mount_from.front()).front());
      std::string query = fmt::format("?mount={}&from={}", UrlEncode(blob.digest.text()),
                                      UrlEncode(blob.mount_from.front()));
      auto mounted = Ask(where, host, wider, {.method = "POST", .url = start + query}, stop);
      if (mounted.ok() && mounted->status == 201) return Pushed::kMounted;
      // A registry that does not let us mount may still take the bytes.
      if (mounted.ok() && mounted->status == 202) session = *std::move(mounted);
    }
    if (!session) {
      session = TRY(Ask(where, host, scopes, {.method = "POST", .url = start}, stop));
    }
    UploadTarget target{
        .ask = [&](HttpRequest request) { return AskAny(where, host, scopes, request, stop); },
        .base = [&] { return BaseOf(where); },
        .start = start};
    HttpAnswer answer = TRY(Upload(target, *session, blob.digest, blob.body, stop));
    auto stored = Digest::Parse(answer.Header("docker-content-digest"));
    if (stored.ok() && *stored != blob.digest) {
      return MakeError(ErrorKind::kDataLoss, "the registry stored it as {}", stored->text());
    }
    return Pushed::kUploaded;
  }

  Result<Pushed> PushManifestTo(const RegistryHost& where, const std::string& host,
                                const std::string& repository, const std::string& reference,
                                const ManifestDocument& document, const StopToken& stop) {
    Scopes scopes = PushScope(repository);
    const oci::Descriptor& descriptor = document.descriptor;
    HttpRequest head{
        .method = "HEAD", .url = ManifestPath(repository, reference), .headers = {AcceptHeader()}};
    auto exists = Ask(where, host, scopes, std::move(head), stop);
    if (exists.ok() && exists->Header("docker-content-digest") == descriptor.digest.text()) {
      return Pushed::kExists;
    }
    if (!exists.ok() && exists.error().kind() != ErrorKind::kNotFound) {
      return std::move(exists).error();
    }
    HttpUpload body{.size = document.text.size(),
                    .read = [&](uint64_t offset, char* buffer, size_t size) -> Result<size_t> {
                      return document.text.copy(buffer, size, offset);
                    }};
    HttpRequest put{.method = "PUT",
                    .url = ManifestPath(repository, reference),
                    .headers = {"Content-Type: " + descriptor.media_type},
                    .upload = &body};
    HttpAnswer answer = TRY(Ask(where, host, scopes, std::move(put), stop));
    auto stored = Digest::Parse(answer.Header("docker-content-digest"));
    if (stored.ok() && *stored != descriptor.digest) {
      return MakeError(ErrorKind::kDataLoss, "the registry stored it as {}", stored->text());
    }
    return Pushed::kUploaded;
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

  // The same of which only a success is one.
  Result<HttpAnswer> Ask(const RegistryHost& where, const std::string& host, const Scopes& scopes,
                         HttpRequest request, const StopToken& stop) {
    HttpAnswer answer = TRY(AskAny(where, host, scopes, std::move(request), stop));
    if (answer.status < 200 || answer.status > 299) return ErrorOfAnswer(answer);
    return answer;
  }

  // Asks with what authorisation there is, and once more after a challenge. `request.url` is
  // absolute, or below the host's base.
  Result<HttpAnswer> AskAny(const RegistryHost& where, const std::string& host,
                            const Scopes& scopes, HttpRequest request, const StopToken& stop) {
    const size_t plain_headers = request.headers.size();
    // What is signed for another server must not see our credentials.
    bool foreign = request.url.starts_with("http") && !SameAuthority(request.url, where);
    if (auto header = authorizer_.Cached(where, scopes); header && !foreign) {
      request.headers.push_back("Authorization: " + *header);
    }
    HttpAnswer answer = TRY(Send(where, host, request, stop));
    if (answer.status == 401 && !foreign) {
      Credentials credentials;
      if (options_.credentials) credentials = TRY(options_.credentials(where.name));
      std::string header = TRY(authorizer_.Answer(where, answer, credentials, scopes, stop));
      request.headers.resize(plain_headers);
      request.headers.push_back("Authorization: " + header);
      answer = TRY(Send(where, host, request, stop));
    }
    return answer;
  }

  static bool SameAuthority(const std::string& url, const RegistryHost& where) {
    auto authority = [](std::string_view text) {
      text.remove_prefix(text.find("://") + 3);
      return text.substr(0, text.find('/'));
    };
    return authority(url) == authority(where.base);
  }

  void Prepare(const RegistryHost& where, HttpRequest* request) const {
    request->verify_tls = where.verify_tls;
    request->ca_files = where.ca_files;
    request->client_certificate = where.client_certificate;
    request->client_key = where.client_key;
    request->connect_timeout = where.connect_timeout;
    request->stall_timeout = options_.stall_timeout;
    request->user_agent = options_.user_agent;
  }

  // A registry that is asked too often, or has too much to do, says how long to wait (RFC 9110
  // section 10.2.3). Without that its answer stands.
  Result<HttpAnswer> Send(const RegistryHost& where, const std::string& host,
                          const HttpRequest& request, const StopToken& stop) {
    std::chrono::seconds patience = kRetryPatience;
    for (;;) {
      HttpAnswer answer = TRY(SendOnce(where, host, request, stop));
      std::optional<std::chrono::seconds> pause = RetryAfter(answer);
      if (!pause || *pause > patience) return answer;
      patience -= *pause;
      log::Info("{} answers {}, and again in {} s", where.base, answer.status, pause->count());
      auto waited = WaitFor(BorrowedFd(), 0, *pause, stop);
      if (!waited.ok() && waited.error().kind() != ErrorKind::kDeadlineExceeded) {
        return std::move(waited).error();
      }
    }
  }

  // Finds out once for each host whether it speaks TLS.
  Result<HttpAnswer> SendOnce(const RegistryHost& where, const std::string& host,
                              HttpRequest request, const StopToken& stop) {
    Prepare(where, &request);
    // Headers of the configuration may be secrets, which another server must not see either.
    bool foreign = request.url.starts_with("http") && !SameAuthority(request.url, where);
    if (!foreign) {
      for (const auto& [name, value] : options_.headers) {
        request.headers.push_back(fmt::format("{}: {}", name, value));
      }
      request.headers.insert(request.headers.end(), where.headers.begin(), where.headers.end());
    }
    if (!request.url.starts_with("http")) {
      request.url = where.base + request.url;
      if (where.mirror) {
        request.url += request.url.find('?') == std::string::npos ? '?' : '&';
        request.url += "ns=" + UrlEncode(host);
      }
    }
    if (!where.may_be_plain || !request.url.starts_with("https://")) {
      return http_.Run(request, stop);
    }
    if (!IsPlain(where)) {
      auto answer = http_.Run(request, stop);
      bool no_tls = !answer.ok() && answer.error().kind() == ErrorKind::kFailedPrecondition;
      if (!no_tls) return answer;
    }
    request.url.erase(4, 1);  // https → http
    HttpAnswer answer = TRY(http_.Run(request, stop));
    MutexLock lock(mutex_);
    plain_hosts_.insert(where.base);
    return answer;
  }

  // The base with the scheme that the host turned out to speak.
  std::string BaseOf(const RegistryHost& where) {
    std::string base = where.base;
    if (IsPlain(where) && base.starts_with("https://")) base.erase(4, 1);
    return base;
  }

  bool IsPlain(const RegistryHost& where) {
    MutexLock lock(mutex_);
    return plain_hosts_.contains(where.base);
  }

  const ClientOptions options_;
  HttpTransfer http_;
  Authorizer authorizer_;
  Mutex mutex_;
  std::set<std::string> plain_hosts_ GUARDED_BY(mutex_);
  std::set<std::string> down_ GUARDED_BY(mutex_);  // mirrors that failed
};

}  // namespace

Result<std::unique_ptr<Client>> Client::Create(ClientOptions options) {
  return std::unique_ptr<Client>(std::make_unique<CurlClient>(std::move(options)));
}

}  // namespace gantry::registry
