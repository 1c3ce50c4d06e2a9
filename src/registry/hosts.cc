// SPDX-License-Identifier: Apache-2.0
#include "registry/hosts.h"

#include <dirent.h>
#include <sys/stat.h>

#include <algorithm>
#include <charconv>

#include "base/directory.h"
#include "base/io.h"

#define TOML_EXCEPTIONS 0
#include <toml++/toml.h>

namespace gantry::registry {
namespace {

constexpr std::string_view kDefaultDomain = "docker.io";
constexpr std::string_view kDefaultHost = "registry-1.docker.io";
constexpr size_t kMaxFileBytes = size_t{1} << 20;

std::string AuthorityOf(std::string_view url) {
  size_t begin = url.find("://");
  begin = begin == url.npos ? 0 : begin + 3;
  return std::string(url.substr(begin, url.find('/', begin) - begin));
}

// "3s", "500ms", "1m30s" (Go's durations); a bare number counts seconds.
Result<std::chrono::milliseconds> ParseDuration(std::string_view text) {
  using std::chrono::milliseconds;
  constexpr std::pair<std::string_view, double> kUnits[] = {
      {"ms", 1}, {"h", 3'600'000}, {"m", 60'000}, {"s", 1000}, {"", 1000}};
  double total = 0;
  std::string_view rest = text;
  do {
    double number = 0;
    auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), number);
    if (error != std::errc()) return InvalidArgument("'{}' is no duration", text);
    rest.remove_prefix(static_cast<size_t>(end - rest.data()));
    size_t unit_size = std::min(rest.find_first_of("0123456789."), rest.size());
    auto* unit = std::find_if(std::begin(kUnits), std::end(kUnits), [&](const auto& candidate) {
      return candidate.first == rest.substr(0, unit_size);
    });
    if (unit == std::end(kUnits)) return InvalidArgument("'{}' is no duration", text);
    total += number * unit->second;
    rest.remove_prefix(unit_size);
  } while (!rest.empty());
  if (total < 1 || total > 3'600'000) return InvalidArgument("'{}' is no sensible duration", text);
  return milliseconds(static_cast<int64_t>(total));
}

// One [host."…"] table, or the members of the file's top that mean the registry itself.
class HostReader {
 public:
  HostReader(const std::string& directory, RegistryHost* host)
      : directory_(directory), host_(*host) {}

  Result<> Read(const toml::table& table) {
    for (const auto& [key, value] : table) {
      auto read = ReadMember(key.str(), value);
      if (read.ok()) continue;
      return std::move(read).error().AddContext(
          fmt::format("line {}: '{}'", key.source().begin.line, key.str()));
    }
    return {};
  }
  bool override_path() const { return override_path_; }

 private:
  Result<> ReadMember(std::string_view key, const toml::node& value) {
    if (key == "server" || key == "host") return {};  // of the top, read by FileReader
    if (key == "capabilities") return ReadCapabilities(value);
    if (key == "ca") {
      TRY(EachString(value, [&](std::string text) -> Result<> {
        host_.ca_files.push_back(Absolute(std::move(text)));
        return {};
      }));
      return {};
    }
    if (key == "client") return ReadClient(value);
    if (key == "skip_verify") {
      bool skip = false;
      TRY(ReadBool(value, &skip));
      host_.verify_tls = !skip;
      return {};
    }
    if (key == "override_path") return ReadBool(value, &override_path_);
    if (key == "dial_timeout") {
      auto text = value.value<std::string>();
      if (!text) return InvalidArgument("it is not a string");
      host_.connect_timeout = TRY(ParseDuration(*text));
      return {};
    }
    if (key == "header") return ReadHeaders(value);
    return InvalidArgument("there is no such member");
  }

  Result<> ReadBool(const toml::node& value, bool* out) {
    auto flag = value.value_exact<bool>();
    if (!flag) return InvalidArgument("it is not true or false");
    *out = *flag;
    return {};
  }

  // A string, or an array of strings.
  template <typename F>
  Result<> EachString(const toml::node& value, F&& visit) {
    if (auto text = value.value_exact<std::string>()) return visit(*std::move(text));
    const toml::array* array = value.as_array();
    if (array == nullptr) return InvalidArgument("it is not a string or an array of strings");
    for (const toml::node& item : *array) {
      auto text = item.value_exact<std::string>();
      if (!text) return InvalidArgument("it is not an array of strings");
      TRY(visit(*std::move(text)));
    }
    return {};
  }

  Result<> ReadCapabilities(const toml::node& value) {
    host_.pull = host_.resolve = host_.push = false;
    return EachString(value, [&](const std::string& name) -> Result<> {
      if (name == "pull") {
        host_.pull = true;
      } else if (name == "resolve") {
        host_.resolve = true;
      } else if (name == "push") {
        host_.push = true;
      } else if (name != "referrers") {
        return InvalidArgument("'{}' is no capability: pull, resolve, push or referrers", name);
      }
      return {};
    });
  }

  // "both.pem", ["both.pem"] or [["certificate.pem", "key.pem"]].
  Result<> ReadClient(const toml::node& value) {
    const toml::node* pair = &value;
    const toml::array* outer = value.as_array();
    if (outer != nullptr && outer->size() == 1 && outer->get(0)->is_array()) pair = outer->get(0);
    std::vector<std::string> files;
    TRY(EachString(*pair, [&](std::string text) -> Result<> {
      files.push_back(Absolute(std::move(text)));
      return {};
    }));
    bool nested = pair != &value;
    if (files.empty() || files.size() > (nested ? 2u : 1u)) {
      return InvalidArgument("exactly one client certificate can be given");
    }
    host_.client_certificate = files[0];
    if (files.size() == 2) host_.client_key = files[1];
    return {};
  }

  Result<> ReadHeaders(const toml::node& value) {
    const toml::table* table = value.as_table();
    if (table == nullptr) return InvalidArgument("it is not a table");
    for (const auto& [name, inner] : *table) {
      std::string_view key = name.str();
      TRY(EachString(inner, [&](const std::string& text) -> Result<> {
        if ((std::string(key) + text).find_first_of("\r\n") != std::string::npos) {
          return InvalidArgument("a header with a line break");
        }
        host_.headers.push_back(fmt::format("{}: {}", key, text));
        return {};
      }));
    }
    return {};
  }

  std::string Absolute(std::string path) const {
    return path.starts_with('/') ? path : directory_ + "/" + path;
  }

  const std::string& directory_;
  RegistryHost& host_;
  bool override_path_ = false;
};

// Fills in where the server is. `url` may lack its scheme.
Result<> SetUrl(const std::string& url, bool override_path, RegistryHost* host) {
  std::string whole = url;
  std::string authority = AuthorityOf(url);
  if (url.find("://") == std::string::npos) {
    host->may_be_plain = host->may_be_plain || IsLocalHost(authority);
    whole = "https://" + url;
  } else if (!url.starts_with("http://") && !url.starts_with("https://")) {
    return InvalidArgument("'{}' is neither http nor https", url);
  }
  if (authority.empty() || whole.find_first_of("?# \r\n") != std::string::npos) {
    return InvalidArgument("'{}' is no address of a registry", url);
  }
  while (whole.ends_with('/')) whole.pop_back();
  if (!override_path && !whole.ends_with("/v2")) whole += "/v2";
  host->base = std::move(whole);
  host->insecure = host->insecure || !host->verify_tls || IsLocalHost(authority);
  if (host->name.empty()) host->name = authority;
  return {};
}

// The registry itself, as it is without any configuration.
RegistryHost OwnHost(const HostsOptions& options, const std::string& host) {
  RegistryHost own;
  own.name = host;
  own.insecure = options.insecure.contains(host);
  own.verify_tls = !own.insecure;
  own.may_be_plain = own.insecure;
  if (!options.ca_file.empty()) own.ca_files.push_back(options.ca_file);
  return own;
}

std::string OwnAddress(const std::string& host) {
  return host == kDefaultDomain ? std::string(kDefaultHost) : host;
}

Result<std::vector<RegistryHost>> ReadHostsFile(const HostsOptions& options,
                                                const std::string& directory,
                                                const std::string& host) {
  std::string text = TRY(ReadFile(directory + "/hosts.toml", kMaxFileBytes));
  toml::parse_result parsed = toml::parse(text);
  if (parsed.failed()) {
    return InvalidArgument("line {}: {}", parsed.error().source().begin.line,
                           parsed.error().description());
  }
  const toml::table& top = parsed.table();
  struct Named {
    std::string url;
    const toml::table* table;
    toml::source_index line;
  };
  std::vector<Named> named;
  if (const toml::node* hosts = top.get("host")) {
    if (!hosts->is_table()) return InvalidArgument("'host' is not a table");
    for (const auto& [url, node] : *hosts->as_table()) {
      if (!node.is_table()) return InvalidArgument("host '{}' is not a table", url.str());
      named.push_back({std::string(url.str()), node.as_table(), url.source().begin.line});
    }
  }
  // The parser sorts by name; what comes first in the file is asked first.
  std::stable_sort(named.begin(), named.end(),
                   [](const Named& a, const Named& b) { return a.line < b.line; });
  std::vector<RegistryHost> found;
  for (const Named& one : named) {
    RegistryHost mirror;
    HostReader reader(directory, &mirror);
    TRY_WITH(reader.Read(*one.table), "host '{}'", one.url);
    TRY_WITH(SetUrl(one.url, reader.override_path(), &mirror), "host '{}'", one.url);
    mirror.mirror = AuthorityOf(one.url) != OwnAddress(host);
    if (!mirror.mirror) mirror.name = host;
    found.push_back(std::move(mirror));
  }
  RegistryHost own = OwnHost(options, host);
  HostReader reader(directory, &own);
  TRY(reader.Read(top));
  std::string server = OwnAddress(host);
  if (const toml::node* node = top.get("server")) {
    auto given = node->value_exact<std::string>();
    if (!given) return InvalidArgument("'server' is not a string");
    if (!given->empty()) server = *given;
  }
  TRY_WITH(SetUrl(server, reader.override_path(), &own), "'server'");
  // One that is named as a host as well is not asked twice.
  bool twice = std::any_of(found.begin(), found.end(),
                           [&](const RegistryHost& other) { return other.base == own.base; });
  if (!twice) found.push_back(std::move(own));
  return found;
}

Result<> AddDockerFiles(const std::string& directory, RegistryHost* host) {
  for (const std::string& name : TRY(ListDirectory(directory))) {
    std::string path = directory + "/" + name;
    if (name.ends_with(".crt")) host->ca_files.push_back(path);
    if (!name.ends_with(".cert")) continue;
    std::string key = path.substr(0, path.size() - 5) + ".key";
    if (!PathExists(key)) {
      return InvalidArgument("reading '{}': there is no key '{}' beside it", path, key);
    }
    host->client_certificate = path;
    host->client_key = key;
  }
  return {};
}

// The directory for `host`, or "".
std::string DirectoryOf(const std::string& top, const std::string& host) {
  if (top.empty()) return "";
  std::vector<std::string> names = {host, "_default"};
  size_t colon = host.rfind(':');
  if (colon != std::string::npos && host.find(']', colon) == std::string::npos) {
    names.insert(names.begin(), host.substr(0, colon) + "_" + host.substr(colon + 1) + "_");
  }
  for (const std::string& name : names) {
    struct stat status;
    std::string path = top + "/" + name;
    if (::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode)) return path;
  }
  return "";
}

}  // namespace

bool IsLocalHost(std::string_view host) {
  if (host.starts_with("[::1]")) return true;
  std::string_view name = host.substr(0, host.rfind(':'));
  return name == "localhost" ||
         (name.starts_with("127.") && std::count(name.begin(), name.end(), '.') == 3);
}

Result<std::vector<RegistryHost>> FindHosts(const HostsOptions& options, const std::string& host) {
  // A host's name becomes a file's name.
  if (host.empty() || host.find('/') != std::string::npos || host.starts_with('.')) {
    return InvalidArgument("'{}' is no name of a registry", host);
  }
  std::string directory = DirectoryOf(options.directory, host);
  if (!directory.empty() && PathExists(directory + "/hosts.toml")) {
    return TRY_WITH(ReadHostsFile(options, directory, host), "reading '{}/hosts.toml'", directory);
  }
  RegistryHost own = OwnHost(options, host);
  if (!directory.empty()) TRY(AddDockerFiles(directory, &own));
  TRY(SetUrl(OwnAddress(host), false, &own));
  return std::vector<RegistryHost>{std::move(own)};
}

}  // namespace gantry::registry
