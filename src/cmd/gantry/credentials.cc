// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantry/credentials.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

#include "base/io.h"
#include "cmd/gantry/program.h"
#include "formats/base64.h"
#include "kernel/spawn.h"

extern char** environ;

namespace gantry::cli {
namespace {

using formats::Json;

constexpr size_t kMaxAnswerBytes = 1 << 20;
// A helper's user name that says that the secret is an identity token.
constexpr std::string_view kTokenUser = "<token>";

std::string_view Trimmed(std::string_view text) {
  size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string_view::npos) return "";
  return text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1);
}

// "https://host:5000/v1/" to "host:5000".
std::string_view HostOf(std::string_view key) {
  for (std::string_view scheme : {"https://", "http://"}) {
    if (key.substr(0, scheme.size()) == scheme) key.remove_prefix(scheme.size());
  }
  return key.substr(0, key.find('/'));
}

struct HelperAnswer {
  bool ok = false;
  std::string text;
};

// docker-credential-NAME ACTION with `input` on its standard input
// (docker/docker-credential-helpers, README, "Development").
Result<HelperAnswer> RunHelper(const std::string& helper, const char* action,
                               std::string_view input) {
  std::string name = "docker-credential-" + helper;
  Result<std::string> path = kernel::FindInPath(name);
  if (!path.ok()) {
    return FailedPrecondition(
        "error getting credentials - err: exec: \"{}\": executable file not found in $PATH, out: "
        "``",
        name);
  }
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) < 0) return ErrnoError("making a pipe");
  UniqueFd out(ends[0]);
  UniqueFd in(ends[1]);
  // It fits into the pipe, so that nobody has to read for us to go on.
  TRY(WriteAll(in, input));
  in.Reset();
  kernel::SpawnOptions options;
  options.program = *path;
  options.args = {name, action};
  for (char** variable = environ; *variable != nullptr; ++variable) {
    options.env.emplace_back(*variable);
  }
  options.fds = {{out.get(), 0}, {2, 2}};
  kernel::ProgramOutput output =
      TRY_WITH(kernel::SpawnAndRead(std::move(options), kernel::Captured::kOutput, kMaxAnswerBytes),
               "running '{}'", name);
  return HelperAnswer{output.status.ShellCode() == 0, std::string(Trimmed(output.text))};
}

bool SaysNotFound(const std::string& text) {
  return text.find("credentials not found in native keychain") != std::string::npos;
}

Result<Credential> FromHelper(const std::string& helper, const std::string& key) {
  HelperAnswer answer = TRY(RunHelper(helper, "get", key));
  Credential credential;
  credential.server = key;
  if (!answer.ok) {
    if (SaysNotFound(answer.text)) return credential;
    return Unavailable("error getting credentials - err: exit status 1, out: `{}`", answer.text);
  }
  Json json =
      TRY_WITH(Json::Parse(answer.text), "reading what 'docker-credential-{}' says", helper);
  const std::string& user = json["Username"].AsString();
  if (user == kTokenUser) {
    credential.identity_token = json["Secret"].AsString();
  } else {
    credential.user = user;
    credential.password = json["Secret"].AsString();
  }
  return credential;
}

Result<Credential> FromEntry(const std::string& key, const Json& entry) {
  Credential credential;
  credential.server = key;
  credential.user = entry["username"].AsString();
  credential.password = entry["password"].AsString();
  credential.identity_token = entry["identitytoken"].AsString();
  credential.registry_token = entry["registrytoken"].AsString();
  const std::string& auth = entry["auth"].AsString();
  if (auth.empty()) return credential;
  std::string pair = TRY_WITH(formats::DecodeBase64(auth), "config.json: auths '{}'", key);
  size_t colon = pair.find(':');
  if (colon == std::string::npos) {
    return InvalidArgument("config.json: auths '{}': expected user:password", key);
  }
  credential.user = pair.substr(0, colon);
  credential.password = pair.substr(colon + 1);
  while (!credential.password.empty() && credential.password.back() == '\0') {
    credential.password.pop_back();
  }
  return credential;
}

// The entry filed under the key, or under another form of the same host.
Result<Credential> FromAuths(const std::string& key, const Json& auths) {
  if (const Json* entry = auths.Find(key)) return FromEntry(key, *entry);
  for (const auto& [name, entry] : auths.members()) {
    if (HostOf(name) != HostOf(key)) continue;
    Credential credential = TRY(FromEntry(name, entry));
    credential.server = key;
    return credential;
  }
  Credential nothing;
  nothing.server = key;
  return nothing;
}

}  // namespace

std::string RegistryKey(std::string_view domain) {
  if (domain == "docker.io" || domain == "index.docker.io") return std::string(kHubKey);
  return std::string(domain);
}

Json Credential::ToAuthConfig() const {
  Json auth = Json::MakeObject();
  auto set = [&](const char* name, const std::string& value) {
    if (!value.empty()) auth.Set(name, value);
  };
  set("username", user);
  set("password", password);
  set("identitytoken", identity_token);
  set("registrytoken", registry_token);
  if (!empty()) set("serveraddress", server);
  return auth;
}

std::string Credentials::HelperFor(const std::string& key) const {
  const Json& config = config_->json();
  if (const Json* own = config["credHelpers"].Find(key)) return own->AsString();
  return config["credsStore"].AsString();
}

Result<Credential> Credentials::Get(const std::string& key) const {
  // What the environment says comes first: a job's own login, which touches no file.
  std::string given = Setting("AUTH_CONFIG");
  if (!given.empty()) {
    Json config = TRY_WITH(Json::Parse(given), "reading DOCKER_AUTH_CONFIG");
    Credential credential = TRY(FromAuths(key, config["auths"]));
    if (!credential.empty()) return credential;
  }
  std::string helper = HelperFor(key);
  if (!helper.empty()) return FromHelper(helper, key);
  return FromAuths(key, config_->json()["auths"]);
}

Result<> Credentials::Store(const Credential& credential) {
  std::string helper = HelperFor(credential.server);
  Json entry = Json::MakeObject();
  if (!helper.empty()) {
    bool token = !credential.identity_token.empty();
    Json request =
        Json::MakeObject({{"ServerURL", credential.server},
                          {"Username", token ? std::string(kTokenUser) : credential.user},
                          {"Secret", token ? credential.identity_token : credential.password}});
    HelperAnswer answer = TRY(RunHelper(helper, "store", request.Dump()));
    if (!answer.ok) {
      return Unavailable("error storing credentials - err: exit status 1, out: `{}`", answer.text);
    }
  } else {
    entry.Set("auth", formats::EncodeBase64(credential.user + ":" + credential.password));
    if (!credential.identity_token.empty()) {
      entry.Set("auth", formats::EncodeBase64(credential.user + ":"));
      entry.Set("identitytoken", credential.identity_token);
    }
  }
  // With a helper the empty entry tells that there are credentials.
  config_->mutable_json().MutableMember("auths").Set(credential.server, std::move(entry));
  return config_->Save();
}

// What other programs may have filed the same registry under goes as well.
Result<> Credentials::Erase(const std::string& key) {
  std::vector<std::string> names = {key};
  if (key != kHubKey) names.insert(names.end(), {"http://" + key, "https://" + key});
  bool changed = false;
  for (const std::string& name : names) {
    std::string helper = HelperFor(name);
    if (!helper.empty()) {
      HelperAnswer answer = TRY(RunHelper(helper, "erase", name));
      if (!answer.ok && !SaysNotFound(answer.text)) {
        return Unavailable("error erasing credentials - err: exit status 1, out: `{}`",
                           answer.text);
      }
    }
    Json& json = config_->mutable_json();
    if (json["auths"].Find(name) == nullptr) continue;
    json.MutableMember("auths").Erase(name);
    changed = true;
  }
  return changed ? config_->Save() : Result<>();
}

}  // namespace gantry::cli
