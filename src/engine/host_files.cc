// SPDX-License-Identifier: Apache-2.0
#include "engine/host_files.h"

#include <algorithm>
#include <string_view>

#include "base/io.h"
#include "base/text.h"

namespace gantry::engine {
namespace {

constexpr mode_t kReadableFile = 0644;
constexpr size_t kMaxHostFile = size_t{1} << 20;
constexpr std::string_view kHostGateway = "host-gateway";

bool IsLoopback(std::string_view address) {
  return address.starts_with("127.") || address == "::1";
}

std::string MakeHosts(const HostFilesRequest& request) {
  std::string out =
      "127.0.0.1\tlocalhost\n"
      "::1\tlocalhost ip6-localhost ip6-loopback\n"
      "fe00::\tip6-localnet\n"
      "ff00::\tip6-mcastprefix\n"
      "ff02::1\tip6-allnodes\n"
      "ff02::2\tip6-allrouters\n";
  for (const std::string& extra : request.host->extra_hosts) {
    // "name:address"; an IPv6 address has colons of its own.
    size_t colon = extra.find(':');
    std::string address = extra.substr(colon + 1);
    if (address == kHostGateway) address = request.gateway;
    out += address + "\t" + extra.substr(0, colon) + "\n";
  }
  if (!request.address.empty()) {
    const std::string& domain = request.config->domainname;
    out += request.address + "\t";
    if (!domain.empty()) out += request.hostname + "." + domain + " ";
    out += request.hostname + "\n";
  }
  return out;
}

// A file that the host does not have is an empty one inside.
Result<std::string> HostFile(const std::string& path) {
  Result<std::string> text = ReadFile(path, kMaxHostFile);
  if (!text.ok() && text.error().kind() == ErrorKind::kNotFound) return std::string();
  return text;
}

}  // namespace

std::string MakeResolvConf(std::string_view host_file, const HostConfig& host) {
  std::vector<std::string> servers = host.dns;
  std::vector<std::string> search = host.dns_search;
  std::vector<std::string> options = host.dns_options;
  for (std::string_view rest = host_file; !rest.empty();) {
    size_t end = std::min(rest.find('\n'), rest.size());
    std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    std::vector<std::string> words = SplitWords(line.substr(0, line.find_first_of("#;")));
    if (words.size() < 2) continue;
    if (words[0] == "nameserver" && host.dns.empty() && !IsLoopback(words[1])) {
      servers.push_back(words[1]);
    } else if ((words[0] == "search" || words[0] == "domain") && host.dns_search.empty()) {
      search.assign(words.begin() + 1, words.end());
    } else if (words[0] == "options" && host.dns_options.empty()) {
      options.assign(words.begin() + 1, words.end());
    }
  }
  if (servers.empty()) servers = {"8.8.8.8", "8.8.4.4"};
  std::string out;
  for (const std::string& server : servers) out += "nameserver " + server + "\n";
  auto line = [&](std::string_view keyword, const std::vector<std::string>& values) {
    if (values.empty()) return;
    out += keyword;
    for (const std::string& value : values) out += " " + value;
    out += "\n";
  };
  // "." alone means: no search domains.
  if (search != std::vector<std::string>{"."}) line("search", search);
  line("options", options);
  return out;
}

Result<std::vector<oci::Mount>> WriteHostFiles(const HostFilesRequest& request) {
  bool shares_host = request.host->network_mode == "host";
  for (const std::string& extra : request.host->extra_hosts) {
    if (extra.find(':') == std::string::npos) {
      return InvalidArgument("bad format for add-host: \"{}\"", extra);
    }
    if (extra.ends_with(kHostGateway) && request.gateway.empty()) {
      return InvalidArgument(
          "unable to derive the IP value for host-gateway: the default bridge has no address");
    }
  }
  std::string resolv = TRY(HostFile("/etc/resolv.conf"));
  bool has_own_dns = !request.host->dns.empty() || !request.host->dns_search.empty() ||
                     !request.host->dns_options.empty();
  if (!shares_host || has_own_dns) resolv = MakeResolvConf(resolv, *request.host);
  std::string hosts = shares_host ? TRY(HostFile("/etc/hosts")) : MakeHosts(request);
  const std::string& directory = request.directory;
  TRY(CreateFile(directory + "/resolv.conf", resolv, kReadableFile));
  TRY(CreateFile(directory + "/hostname", request.hostname + "\n", kReadableFile));
  TRY(CreateFile(directory + "/hosts", hosts, kReadableFile));
  auto mount = [&](const char* name) {
    return oci::Mount{std::string("/etc/") + name, "bind", directory + "/" + name,
                      {"rbind", "rprivate"},       {},     {}};
  };
  return std::vector<oci::Mount>{mount("resolv.conf"), mount("hostname"), mount("hosts")};
}

}  // namespace gantry::engine
