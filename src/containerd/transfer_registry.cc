// SPDX-License-Identifier: Apache-2.0
#include "containerd/transfer_registry.h"

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "base/mutex.h"
#include "containerd/image_records.h"
#include "containerd/streams.h"
#include "images/pull.h"
#include "images/push.h"
#include "registry/client.h"
#include "registry/hosts.h"

namespace gantry::containerd {
namespace {

namespace transfer = ::containerd::types::transfer;

Result<registry::Credentials> AskForCredentials(Stream* stream, const std::string& host,
                                                const std::string& reference) {
  transfer::AuthRequest request;
  request.set_host(host);
  request.set_reference(reference);
  TRY_WITH(stream->Send(request), "asking for credentials of '{}'", host);
  registry::Credentials credentials;
  while (true) {
    auto any = TRY(stream->Receive());
    if (!any.has_value()) return credentials;  // the client has none
    transfer::AuthResponse response;
    if (!UnpackAny(*any, &response)) continue;
    switch (response.authtype()) {
      case transfer::CREDENTIALS:
        credentials.username = response.username();
        credentials.password = response.secret();
        break;
      case transfer::REFRESH:
        credentials.username = response.username();
        credentials.identity_token = response.secret();
        break;
      case transfer::HEADER:
        credentials.registry_token = response.secret();
        break;
      default:
        break;
    }
    return credentials;
  }
}

// Without TLS: what the client says, and hosts of this machine, as docker has it.
std::set<std::string> InsecureHosts(const transfer::OCIRegistry& registry) {
  std::string host = registry.reference().substr(0, registry.reference().find('/'));
  if (registry::IsLocalHost(host) || registry.resolver().default_scheme() == "http") return {host};
  return {};
}

// The client of one transfer, with the stream over which it asks for credentials.
class RegistryUse {
 public:
  static Result<std::unique_ptr<RegistryUse>> Open(Parts* parts, const Caller& caller,
                                                   const transfer::OCIRegistry& registry) {
    std::unique_ptr<RegistryUse> use(new RegistryUse());
    const auto& resolver = registry.resolver();
    registry::ClientOptions options;
    options.hosts.insecure = InsecureHosts(registry);
    options.hosts.directory =
        resolver.host_dir().empty() ? parts->registries.hosts_directory : resolver.host_dir();
    options.stall_timeout = parts->registries.stall_timeout;
    for (const auto& [name, value] : resolver.headers()) options.headers[name] = value;
    if (!resolver.auth_stream().empty()) {
      use->auth_.emplace(TRY(parts->streams->Take(caller.ns, resolver.auth_stream())));
      options.credentials = [use = use.get(), reference = registry.reference()](
                                const std::string& host) -> Result<registry::Credentials> {
        // One conversation at a time: several layers may be refused at once.
        MutexLock lock(use->mutex_);
        auto known = use->known_.find(host);
        if (known != use->known_.end()) return known->second;
        auto credentials = TRY(AskForCredentials(use->auth_->get(), host, reference));
        use->known_[host] = credentials;
        return credentials;
      };
    }
    use->client_ = TRY(registry::Client::Create(std::move(options)));
    return use;
  }
  registry::Client& client() { return *client_; }

 private:
  RegistryUse() = default;
  std::optional<StreamUse> auth_;
  Mutex mutex_;
  std::map<std::string, registry::Credentials> known_ GUARDED_BY(mutex_);
  std::unique_ptr<registry::Client> client_;
};

}  // namespace

Result<> PullImage(Parts* parts, const Caller& caller, const images::Library& library,
                   const transfer::OCIRegistry& from, const transfer::ImageStore& to) {
  auto use = TRY(RegistryUse::Open(parts, caller, from));
  images::PullOptions pull;
  pull.parallel_layers = parts->registries.parallel_layers;
  pull.parallel_parts = parts->registries.parallel_parts;
  for (const auto& platform : to.platforms()) {
    pull.platforms.push_back(
        ToPlatform(platform.os(), platform.architecture(), platform.variant()));
  }
  for (const auto& unpack : to.unpacks()) {
    const auto& platform = unpack.platform();
    pull.unpack.push_back({TRY(FindSnapshotter(*parts, unpack.snapshotter())),
                           ToPlatform(platform.os(), platform.architecture(), platform.variant())});
  }
  const std::string& name = to.name().empty() ? from.reference() : to.name();
  TRY(images::Pull(library, use->client(), from.reference(), name, pull));
  return {};
}

Result<> PushImage(Parts* parts, const Caller& caller, const images::Library& library,
                   const transfer::ImageStore& from, const transfer::OCIRegistry& to) {
  auto image = TRY(library.records->FindImage(from.name()));
  if (!image) return NotFound("image \"{}\": not found", from.name());
  images::PushOptions options;
  for (const auto& platform : from.platforms()) {
    options.platforms.push_back(
        ToPlatform(platform.os(), platform.architecture(), platform.variant()));
  }
  auto use = TRY(RegistryUse::Open(parts, caller, to));
  return images::Push(library, use->client(), image->target, to.reference(), options);
}

}  // namespace gantry::containerd
