// SPDX-License-Identifier: Apache-2.0
#include "containerd/transfer_pull.h"

#include "containerd/image_records.h"
#include "containerd/streams.h"
#include "images/pull.h"
#include "registry/client.h"

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
std::set<std::string> InsecureHosts(const transfer::OCIRegistry& from) {
  std::string host = from.reference().substr(0, from.reference().find('/'));
  std::string name = host.substr(0, host.rfind(':'));
  bool local = name == "localhost" || name.starts_with("127.") || name == "[::1]";
  if (local || from.resolver().default_scheme() == "http") return {host};
  return {};
}

}  // namespace

Result<> PullImage(Parts* parts, const Caller& caller, const images::Library& library,
                   const transfer::OCIRegistry& from, const transfer::ImageStore& to,
                   images::BeforeRecord before_record) {
  std::optional<StreamUse> auth;
  registry::ClientOptions options;
  options.insecure_hosts = InsecureHosts(from);
  for (const auto& [name, value] : from.resolver().headers()) options.headers[name] = value;
  if (!from.resolver().auth_stream().empty()) {
    auth.emplace(TRY(parts->streams->Take(caller.ns, from.resolver().auth_stream())));
    options.credentials = [&](const std::string& host) {
      return AskForCredentials(auth->get(), host, from.reference());
    };
  }
  auto client = TRY(registry::Client::Create(std::move(options)));
  images::PullOptions pull;
  pull.platform = oci::HostPlatform();
  if (to.platforms_size() > 0) {
    const auto& platform = to.platforms(0);
    pull.platform = ToPlatform(platform.os(), platform.architecture(), platform.variant());
  }
  const std::string& name = to.name().empty() ? from.reference() : to.name();
  pull.before_record = std::move(before_record);
  TRY(images::Pull(library, *client, from.reference(), name, pull));
  return {};
}

}  // namespace gantry::containerd
