// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantry/context_store.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>

#include "base/directory.h"
#include "base/io.h"
#include "cmd/gantry/sha256.h"

namespace gantry::cli {
namespace {

using formats::Json;

constexpr struct {
  const char* file;
  std::string TlsContents::* content;
  std::string TlsSettings::* path;
} kTlsFiles[] = {
    {"ca.pem", &TlsContents::ca, &TlsSettings::ca},
    {"cert.pem", &TlsContents::certificate, &TlsSettings::certificate},
    {"key.pem", &TlsContents::key, &TlsSettings::key},
};

Result<> RemoveEmptyDirectory(const std::string& path) {
  if (::rmdir(path.c_str()) < 0 && errno != ENOENT) return ErrnoError("removing '{}'", path);
  return {};
}

Result<> RemoveFile(const std::string& path) {
  if (::unlink(path.c_str()) < 0 && errno != ENOENT) return ErrnoError("removing '{}'", path);
  return {};
}

}  // namespace

Result<> ContextStore::CheckName(const std::string& name) {
  if (name.empty()) return InvalidArgument("context name cannot be empty");
  if (name == "default") return InvalidArgument("\"default\" is a reserved context name");
  auto plain = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0; };
  bool good =
      name.size() > 1 && plain(name[0]) && std::all_of(name.begin(), name.end(), [&](char c) {
        return plain(c) || std::string_view("_.+-").find(c) != std::string_view::npos;
      });
  if (good) return {};
  return InvalidArgument(
      "context name \"{}\" is invalid, names are validated against regexp "
      "\"^[a-zA-Z0-9][a-zA-Z0-9_.+-]+$\"",
      name);
}

std::string ContextStore::MetaDirectory(const std::string& name) const {
  return fmt::format("{}/meta/{}", directory_, Sha256Hex(name));
}

std::string ContextStore::TlsDirectory(const std::string& name) const {
  return fmt::format("{}/tls/{}", directory_, Sha256Hex(name));
}

Result<Context> ContextStore::Find(const std::string& name) const {
  if (name != "default") TRY(CheckName(name));
  std::string path = MetaDirectory(name) + "/meta.json";
  Result<std::string> text = ReadFile(path);
  if (!text.ok() && text.error().kind() == ErrorKind::kNotFound) {
    return NotFound("context \"{}\": context not found: open {}: no such file or directory", name,
                    path);
  }
  Json meta = TRY_WITH(Json::Parse(TRY(std::move(text))), "reading '{}'", path);
  return Context{name, std::move(meta)};
}

Result<std::vector<Context>> ContextStore::List() const {
  std::vector<Context> found;
  for (const std::string& entry : TRY(ListDirectoryIfThere(directory_ + "/meta"))) {
    std::string path = fmt::format("{}/meta/{}/meta.json", directory_, entry);
    Result<std::string> text = ReadFile(path);
    if (!text.ok() && text.error().kind() == ErrorKind::kNotFound) continue;
    Json meta = TRY_WITH(Json::Parse(TRY(std::move(text))), "reading '{}'", path);
    std::string name = meta["Name"].AsString();
    found.push_back({std::move(name), std::move(meta)});
  }
  std::sort(found.begin(), found.end(),
            [](const Context& a, const Context& b) { return a.name < b.name; });
  return found;
}

// meta.json comes last: without it there is no context, whatever else is left of a try.
Result<> ContextStore::Save(const Context& context, const TlsContents* tls) const {
  std::string directory = TlsDirectory(context.name) + "/docker";
  if (tls != nullptr) {
    if (!tls->empty()) TRY(MakeDirectories(directory, 0700));
    for (const auto& kind : kTlsFiles) {
      const std::string& content = tls->*kind.content;
      std::string path = fmt::format("{}/{}", directory, kind.file);
      TRY(content.empty() ? RemoveFile(path) : ReplaceFile(path, content, 0600));
    }
    for (const auto& [name, content] : tls->others) {
      std::string path = fmt::format("{}/{}", TlsDirectory(context.name), name);
      TRY(MakeDirectories(path.substr(0, path.rfind('/')), 0700));
      TRY(ReplaceFile(path, content, 0600));
    }
  }
  std::string meta = MetaDirectory(context.name);
  TRY(MakeDirectories(meta, 0755));
  return ReplaceFile(meta + "/meta.json", context.meta.Dump(), 0644, Durability::kPowerCut);
}

Result<> ContextStore::Remove(const std::string& name) const {
  std::string meta = MetaDirectory(name);
  if (!PathExists(meta + "/meta.json")) return NotFound("context \"{}\" does not exist", name);
  TRY(RemoveFile(meta + "/meta.json"));
  TRY(RemoveEmptyDirectory(meta));
  std::string tls = TlsDirectory(name);
  for (const std::string& endpoint : TRY(ListDirectoryIfThere(tls))) {
    std::string directory = fmt::format("{}/{}", tls, endpoint);
    for (const std::string& file : TRY(ListDirectoryIfThere(directory))) {
      TRY(RemoveFile(fmt::format("{}/{}", directory, file)));
    }
    TRY(RemoveEmptyDirectory(directory));
  }
  return RemoveEmptyDirectory(tls);
}

TlsSettings ContextStore::TlsFiles(const std::string& name) const {
  TlsSettings tls;
  for (const auto& kind : kTlsFiles) {
    std::string path = fmt::format("{}/docker/{}", TlsDirectory(name), kind.file);
    if (PathExists(path)) tls.*kind.path = path;
  }
  return tls;
}

Result<TlsContents> ContextStore::ReadTls(const std::string& name) const {
  TlsContents contents;
  TlsSettings paths = TlsFiles(name);
  for (const auto& kind : kTlsFiles) {
    const std::string& path = paths.*kind.path;
    if (!path.empty()) contents.*kind.content = TRY(ReadFile(path));
  }
  for (const std::string& endpoint : TRY(ListDirectoryIfThere(TlsDirectory(name)))) {
    if (endpoint == "docker") continue;
    std::string directory = fmt::format("{}/{}", TlsDirectory(name), endpoint);
    for (const std::string& file : TRY(ListDirectoryIfThere(directory))) {
      contents.others[endpoint + "/" + file] = TRY(ReadFile(directory + "/" + file));
    }
  }
  return contents;
}

Result<DaemonEndpoint> ContextEndpoint(const Context& context, TlsSettings files) {
  files.verify = !context.skip_verify();
  files.enabled = !files.ca.empty() || !files.certificate.empty() || context.skip_verify();
  Result<DaemonEndpoint> endpoint = ParseEndpoint(context.host(), std::move(files));
  if (!endpoint.ok()) return std::move(endpoint).error().AddContext("Failed to initialize");
  return endpoint;
}

}  // namespace gantry::cli
