// SPDX-License-Identifier: Apache-2.0
#include "engine/host_files.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <set>
#include <string_view>

#include "base/io.h"
#include "networks/host_resolver.h"

namespace gantry::engine {
namespace {

constexpr mode_t kReadableFile = 0644;
constexpr size_t kMaxHostFile = size_t{1} << 20;
constexpr const char* kResolver = "127.0.0.11";
constexpr std::string_view kHostGateway = "host-gateway";

// What stands behind the container's addresses.
std::string NamesLine(const HostFilesRequest& request) {
  const std::string& domain = request.config->domainname;
  std::string whole = domain.empty() ? request.hostname : request.hostname + "." + domain;
  size_t dot = whole.find('.');
  return dot == std::string::npos ? whole + "\n" : whole + " " + whole.substr(0, dot) + "\n";
}

std::string AddressLines(const HostFilesRequest& request) {
  std::string out;
  for (const networks::Endpoint& endpoint : request.endpoints) {
    if (endpoint.has_ipv4()) out += endpoint.address.ToString() + "\t" + NamesLine(request);
    if (endpoint.address6) out += endpoint.address6->ToString() + "\t" + NamesLine(request);
  }
  return out;
}

// What --add-host asks for.
std::string ExtraHosts(const HostFilesRequest& request) {
  std::string out;
  for (const std::string& extra : request.host->extra_hosts) {
    // "name:address"; an IPv6 address has colons of its own.
    size_t colon = extra.find(':');
    std::vector<std::string> addresses = {extra.substr(colon + 1)};
    if (addresses.front() == kHostGateway) addresses = request.gateways;
    for (const std::string& address : addresses) {
      out += address + "\t" + extra.substr(0, colon) + "\n";
    }
  }
  return out;
}

// A file that the host does not have is an empty one inside.
Result<std::string> HostFile(const std::string& path) {
  Result<std::string> text = ReadFile(path, kMaxHostFile);
  if (!text.ok() && text.error().kind() == ErrorKind::kNotFound) return std::string();
  return text;
}

// Those of the host, which the container shares, and its own.
Result<std::string> HostsOfHost(const HostFilesRequest& request) {
  std::string out = TRY(HostFile("/etc/hosts"));
  if (!out.empty() && out.back() != '\n') out += '\n';
  return out + ExtraHosts(request);
}

std::string MakeHosts(const HostFilesRequest& request) {
  std::string out = "127.0.0.1\tlocalhost\n";
  if (!HasIpv6Off(*request.host)) {
    out +=
        "::1\tlocalhost ip6-localhost ip6-loopback\n"
        "fe00::\tip6-localnet\n"
        "ff00::\tip6-mcastprefix\n"
        "ff02::1\tip6-allnodes\n"
        "ff02::2\tip6-allrouters\n";
  }
  return out + ExtraHosts(request) + LinkHosts(request.links) + AddressLines(request);
}

// The file that is there, with the container's lines as they are now; what somebody else wrote into
// it stays.
std::string ChangeHosts(std::string_view text, const HostFilesRequest& request) {
  // What stands behind an address in our lines, whatever the address was.
  std::set<std::string, std::less<>> names = {NamesLine(request)};
  for (const LinkedContainer& link : request.links) {
    // One line or two, the same but for the address, which a link that is being removed has not.
    LinkedContainer placed = link;
    placed.endpoint.prefix_length = 32;
    std::string lines = LinkHosts({placed});
    size_t names_at = lines.find('\t') + 1;
    names.insert(lines.substr(names_at, lines.find('\n') + 1 - names_at));
  }
  std::string out;
  while (!text.empty()) {
    size_t end = std::min(text.find('\n'), text.size() - 1) + 1;
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end);
    size_t tab = line.find('\t');
    bool ours = tab != std::string_view::npos && names.contains(line.substr(tab + 1));
    if (!ours) out += line;
  }
  if (!out.empty() && out.back() != '\n') out += '\n';
  return out + LinkHosts(request.links) + AddressLines(request);
}

// The file is bound into the container: it must stay the same one, and is never seen empty.
Result<> Overwrite(const std::string& path, std::string_view text) {
  UniqueFd file = TRY(OpenFile(path, O_WRONLY));
  TRY_WITH(WriteAll(file, text), "writing '{}'", path);
  if (::ftruncate(file.get(), static_cast<off_t>(text.size())) < 0) {
    return ErrnoError("writing '{}'", path);
  }
  return {};
}

bool HasResolver(const HostFilesRequest& request) {
  return std::any_of(request.endpoints.begin(), request.endpoints.end(),
                     [](const networks::Endpoint& endpoint) { return endpoint.named; });
}

Result<std::string> ResolvConfFor(const HostFilesRequest& request, bool resolver) {
  formats::ResolvConf host = TRY(networks::ReadHostResolvConf());
  return MakeResolvConf(host, *request.host, resolver ? Servers::kResolver : Servers::kReachable);
}

// From the host's servers to the resolver, when the first user's network is joined, and back. What
// somebody else wrote stays.
Result<> ChangeResolvConf(const HostFilesRequest& request) {
  std::string path = request.directory + "/resolv.conf";
  bool resolver = HasResolver(request);
  std::string before = TRY(ReadFile(path, kMaxHostFile));
  if (before != TRY(ResolvConfFor(request, !resolver))) return {};
  return Overwrite(path, TRY(ResolvConfFor(request, resolver)));
}

}  // namespace

bool HasIpv6Off(const HostConfig& host) {
  auto given = host.sysctls.find("net.ipv6.conf.all.disable_ipv6");
  return given != host.sysctls.end() && given->second == "1";
}

std::string MakeResolvConf(const formats::ResolvConf& host_conf, const HostConfig& host,
                           Servers servers) {
  formats::ResolvConf conf = host_conf;
  if (!host.dns.empty()) conf.servers = host.dns;
  if (!host.dns_search.empty()) conf.search = host.dns_search;
  if (!host.dns_options.empty()) conf.options = host.dns_options;
  // "." alone means: no search domains.
  if (conf.search == std::vector<std::string>{"."}) conf.search.clear();
  if (servers == Servers::kResolver) {
    conf.servers = {kResolver};
    // A name without a dot is asked as it is first: it may be a container's.
    bool asked = std::any_of(conf.options.begin(), conf.options.end(),
                             [](const auto& option) { return option.starts_with("ndots:"); });
    if (!asked) conf.options.emplace_back("ndots:0");
    return formats::FormatResolvConf(conf);
  }
  if (host.dns.empty()) std::erase_if(conf.servers, formats::IsLoopbackServer);
  if (conf.servers.empty()) conf.servers = {"8.8.8.8", "8.8.4.4"};
  return formats::FormatResolvConf(conf);
}

Result<> ChangeHostFiles(const HostFilesRequest& request) {
  std::string path = request.directory + "/hosts";
  std::string before = TRY(ReadFile(path, kMaxHostFile));
  std::string after = ChangeHosts(before, request);
  if (after != before) TRY(Overwrite(path, after));
  return ChangeResolvConf(request);
}

Result<> WriteHostFiles(const HostFilesRequest& request) {
  bool shares_host = request.host->network_mode == "host";
  for (const std::string& extra : request.host->extra_hosts) {
    if (extra.find(':') == std::string::npos) {
      return InvalidArgument("bad format for add-host: \"{}\"", extra);
    }
    if (extra.ends_with(kHostGateway) && request.gateways.empty()) {
      return InvalidArgument(
          "unable to derive the IP value for host-gateway: the default bridge has no address");
    }
  }
  bool has_own_dns = !request.host->dns.empty() || !request.host->dns_search.empty() ||
                     !request.host->dns_options.empty();
  std::string resolv = shares_host && !has_own_dns
                           ? TRY(HostFile("/etc/resolv.conf"))
                           : TRY(ResolvConfFor(request, HasResolver(request)));
  std::string hosts = shares_host ? TRY(HostsOfHost(request)) : MakeHosts(request);
  const std::string& directory = request.directory;
  TRY(CreateFile(directory + "/resolv.conf", resolv, kReadableFile));
  TRY(CreateFile(directory + "/hostname", request.hostname + "\n", kReadableFile));
  return CreateFile(directory + "/hosts", hosts, kReadableFile);
}

std::vector<oci::Mount> HostFileMounts(const std::string& directory) {
  std::vector<oci::Mount> mounts;
  for (const char* name : {"resolv.conf", "hostname", "hosts"}) {
    mounts.push_back({std::string("/etc/") + name,
                      "bind",
                      fmt::format("{}/{}", directory, name),
                      {"rbind", "rprivate"},
                      {},
                      {}});
  }
  return mounts;
}

}  // namespace gantry::engine
