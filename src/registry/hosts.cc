// SPDX-License-Identifier: Apache-2.0
#include "registry/hosts.h"

#include <dirent.h>
#include <sys/stat.h>

#include <algorithm>

#include "base/directory.h"
#include "base/io.h"
#include "base/text.h"
#include "formats/human_units.h"
#include "formats/toml.h"

namespace gantry::registry {
namespace {

using formats::Json;

constexpr std::string_view kDefaultDomain = "docker.io";
constexpr std::string_view kDefaultHost = "registry-1.docker.io";
constexpr size_t kMaxFileBytes = size_t{1} << 20;

std::string AuthorityOf(std::string_view url) {
  size_t begin = url.find("://");
  begin = begin == url.npos ? 0 : begin + 3;
  return std::string(url.substr(begin, url.find('/', begin) - begin));
}

// "3s", "500ms", "1m30s" (Go's durations); a bare number counts seconds.
Result<std::chrono::milliseconds> ParseDuration(const std::string& text) {
  bool bare = text.find_first_not_of("0123456789.") == std::string::npos;
  auto parsed = formats::ParseGoDuration(bare ? text + "s" : text);
  if (!parsed.ok()) return InvalidArgument("'{}' is no duration", text);
  auto duration = std::chrono::duration_cast<std::chrono::milliseconds>(*parsed);
  if (duration < std::chrono::milliseconds(1) || duration > std::chrono::hours(1)) {
    return InvalidArgument("'{}' is no sensible duration", text);
  }
  return duration;
}

// One [host."…"] table, or the members of the file's top that mean the registry itself.
class HostReader {
 public:
  HostReader(const std::string& directory, RegistryHost* host)
      : directory_(directory), host_(*host) {}

  // `line_of` a key of the table, for errors.
  template <typename F>
  Result<> Read(const Json& table, F&& line_of) {
    for (const auto& [key, value] : table.members()) {
      TRY_WITH(ReadMember(key, value), "line {}: '{}'", line_of(key), key);
    }
    return {};
  }
  bool override_path() const { return override_path_; }

 private:
  Result<> ReadMember(std::string_view key, const Json& value) {
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
      if (!value.is_string()) return InvalidArgument("it is not a string");
      host_.connect_timeout = TRY(ParseDuration(value.AsString()));
      return {};
    }
    if (key == "header") return ReadHeaders(value);
    return InvalidArgument("there is no such member");
  }

  static Result<> ReadBool(const Json& value, bool* out) {
    if (!value.is_bool()) return InvalidArgument("it is not true or false");
    *out = value.AsBool();
    return {};
  }

  // A string, or an array of strings.
  template <typename F>
  static Result<> EachString(const Json& value, F&& visit) {
    if (value.is_string()) return visit(value.AsString());
    if (!value.is_array()) return InvalidArgument("it is not a string or an array of strings");
    for (const Json& item : value.items()) {
      if (!item.is_string()) return InvalidArgument("it is not an array of strings");
      TRY(visit(item.AsString()));
    }
    return {};
  }

  Result<> ReadCapabilities(const Json& value) {
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
  Result<> ReadClient(const Json& value) {
    bool nested = value.items().size() == 1 && value.at(0).is_array();
    std::vector<std::string> files;
    TRY(EachString(nested ? value.at(0) : value, [&](std::string text) -> Result<> {
      files.push_back(Absolute(std::move(text)));
      return {};
    }));
    if (files.empty() || files.size() > (nested ? 2u : 1u)) {
      return InvalidArgument("exactly one client certificate can be given");
    }
    host_.client_certificate = files[0];
    if (files.size() == 2) host_.client_key = files[1];
    return {};
  }

  Result<> ReadHeaders(const Json& value) {
    if (!value.is_object()) return InvalidArgument("it is not a table");
    for (const auto& [name, inner] : value.members()) {
      TRY(EachString(inner, [&, key = name](const std::string& text) -> Result<> {
        if ((key + text).find_first_of("\r\n") != std::string::npos) {
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
  formats::TomlPlaces places;
  Json top = TRY(formats::ParseToml(text, &places));
  const Json& named = top["host"];
  if (!named.is_null() && !named.is_object()) return InvalidArgument("'host' is not a table");
  std::vector<RegistryHost> found;
  // What comes first in the file is asked first.
  for (const auto& [name, table] : named.members()) {
    const std::string& url = name;
    if (!table.is_object()) return InvalidArgument("host '{}' is not a table", url);
    RegistryHost mirror;
    HostReader reader(directory, &mirror);
    auto line_of = [&](std::string_view key) { return places.LineOf({"host", url, key}); };
    TRY_WITH(reader.Read(table, line_of), "host '{}'", url);
    TRY_WITH(SetUrl(url, reader.override_path(), &mirror), "host '{}'", url);
    mirror.mirror = AuthorityOf(url) != OwnAddress(host);
    if (!mirror.mirror) mirror.name = host;
    found.push_back(std::move(mirror));
  }
  RegistryHost own = OwnHost(options, host);
  HostReader reader(directory, &own);
  TRY(reader.Read(top, [&](std::string_view key) { return places.LineOf({key}); }));
  std::string server = OwnAddress(host);
  if (const Json* given = top.Find("server")) {
    if (!given->is_string()) return InvalidArgument("'server' is not a string");
    if (!given->AsString().empty()) server = given->AsString();
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
std::string DirectoryOf(const std::string& tops, const std::string& host) {
  std::vector<std::string> names = {host, "_default"};
  size_t colon = host.rfind(':');
  if (colon != std::string::npos && host.find(']', colon) == std::string::npos) {
    names.insert(names.begin(), host.substr(0, colon) + "_" + host.substr(colon + 1) + "_");
  }
  for (const std::string& top : SplitWords(tops, ":")) {
    for (const std::string& name : names) {
      struct stat status;
      std::string path = top + "/" + name;
      if (::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode)) return path;
    }
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
