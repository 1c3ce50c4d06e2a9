// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantryd/settings_files.h"

#include <unistd.h>

#include <filesystem>
#include <map>
#include <system_error>

#include "base/directory.h"
#include "base/io.h"
#include "base/random.h"

namespace gantry::gantryd {
namespace {

constexpr std::string_view kPrefix = "registry-hosts-";

// docker: HTTPS with any certificate first, then plain HTTP.
std::string InsecureHost(const std::string& host) {
  return fmt::format(
      "server = \"http://{0}\"\nskip_verify = true\n\n[host.\"https://{0}\"]\nskip_verify = true\n",
      host);
}

// docker's files in certs.d/HOST: every *.crt is a CA, NAME.cert with NAME.key the client's.
Result<std::string> Certificates(std::span<const std::string_view> bases, const std::string& host) {
  for (std::string_view base : bases) {
    std::string directory = fmt::format("{}/{}", base, host);
    if (!PathExists(directory)) continue;
    std::string authorities;
    std::string client;
    for (const std::string& name : TRY(ListDirectory(directory))) {
      std::string path = directory + "/" + name;
      if (name.ends_with(".crt")) {
        authorities += fmt::format("{}\"{}\"", authorities.empty() ? "" : ", ", path);
      }
      if (!name.ends_with(".cert")) continue;
      std::string key = path.substr(0, path.size() - 4) + "key";
      client = fmt::format("client = [[\"{}\", \"{}\"]]\n", path, key);
    }
    return (authorities.empty() ? "" : "ca = [" + authorities + "]\n") + client;
  }
  return std::string();
}

Result<std::string> Mirrors(std::span<const std::string_view> bases,
                            const engine::Settings& settings) {
  std::string out;
  for (std::string mirror : settings.registry_mirrors) {
    while (mirror.ends_with('/')) mirror.pop_back();
    out += fmt::format("[host.\"{}\"]\ncapabilities = [\"pull\", \"resolve\"]\n", mirror);
    std::string authority = mirror.substr(mirror.find("://") + 3);
    authority = authority.substr(0, authority.find('/'));
    out += TRY(Certificates(bases, authority));
    for (const std::string& insecure : settings.insecure_registries) {
      if (authority == insecure) out += "skip_verify = true\n";
    }
  }
  return out;
}

Result<> LinkOthers(const std::string& base, const std::string& directory) {
  std::error_code error;
  for (std::filesystem::directory_iterator it(base, error), end; !error && it != end;
       it.increment(error)) {
    std::string link = directory + "/" + it->path().filename().string();
    if (!PathExists(link) && ::symlink(it->path().c_str(), link.c_str()) < 0) {
      return ErrnoError("linking '{}'", link);
    }
  }
  return {};
}

// All but the newest, which a pull may still read, and the one that is made.
Result<> RemoveOld(const std::string& run_directory, const std::string& made) {
  std::map<std::filesystem::file_time_type, std::filesystem::path> old;
  std::error_code error;
  for (std::filesystem::directory_iterator it(run_directory, error), end; !error && it != end;
       it.increment(error)) {
    std::string name = it->path().filename().string();
    if (!name.starts_with(kPrefix) || it->path() == made) continue;
    std::error_code no_time;
    old[std::filesystem::last_write_time(it->path(), no_time)] = it->path();
  }
  if (!old.empty()) old.erase(std::prev(old.end()));
  for (const auto& [when, path] : old) std::filesystem::remove_all(path, error);
  if (error) return ErrnoErrorOf(error.value(), "removing old files in '" + run_directory + "'");
  return {};
}

std::string ShellQuoted(const std::string& text) {
  std::string out = "'";
  for (char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

}  // namespace

Result<> WriteRegistryHosts(const std::string& run_directory,
                            std::span<const std::string_view> bases, engine::Settings* settings) {
  settings->registry_hosts_directory.clear();
  if (settings->registry_mirrors.empty() && settings->insecure_registries.empty()) return {};
  std::string directory = fmt::format("{}/{}{}", run_directory, kPrefix, RandomHex(4));
  std::map<std::string, std::string> files;
  for (const std::string& host : settings->insecure_registries) files[host] = InsecureHost(host);
  if (!settings->registry_mirrors.empty()) {
    files["docker.io"] =
        "server = \"https://registry-1.docker.io\"\n\n" + TRY(Mirrors(bases, *settings));
  }
  for (const auto& [host, text] : files) {
    TRY(MakeDirectories(directory + "/" + host, 0755));
    TRY(CreateFile(directory + "/" + host + "/hosts.toml", text, 0644));
  }
  for (std::string_view base : bases) TRY(LinkOthers(std::string(base), directory));
  TRY(RemoveOld(run_directory, directory));
  settings->registry_hosts_directory = std::move(directory);
  return {};
}

Result<> WriteRuntimeScripts(const std::string& root, engine::Settings* settings) {
  for (auto& [name, runtime] : settings->runtimes) {
    if (runtime.arguments.empty()) continue;
    std::string directory = root + "/engine/runtimes";
    TRY(MakeDirectories(directory, 0700));
    std::string script = "#!/bin/sh\nexec " + ShellQuoted(runtime.path);
    for (const std::string& argument : runtime.arguments) script += " " + ShellQuoted(argument);
    script += " \"$@\"\n";
    std::string path = directory + "/" + name;
    TRY(ReplaceFile(path, script, 0700));
    runtime.script = std::move(path);
  }
  return {};
}

}  // namespace gantry::gantryd
