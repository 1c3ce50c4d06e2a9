// SPDX-License-Identifier: Apache-2.0
#include "engine/api/registry_auth.h"

#include <algorithm>
#include <utility>

#include "formats/base64.h"

namespace gantry::engine::api {

using formats::Json;

RegistryLogin ReadLogin(const Json& json) {
  RegistryLogin login;
  std::string auth;
  formats::JsonReader reader(json, "", formats::JsonReader::Keys::kAnyCase);
  reader.Field("username", &login.username);
  reader.Field("password", &login.password);
  reader.Field("serveraddress", &login.server_address);
  reader.Field("identitytoken", &login.identity_token);
  reader.Field("registrytoken", &login.registry_token);
  reader.Field("auth", &auth);
  if (!login.username.empty()) return login;
  // config.json's form: base64 of "name:password".
  Result<std::string> pair = formats::DecodeBase64(auth);
  if (!pair.ok()) return login;
  size_t colon = pair->find(':');
  if (colon == std::string::npos) return login;
  login.username = pair->substr(0, colon);
  login.password = pair->substr(colon + 1);
  return login;
}

std::optional<RegistryLogin> LoginOfHeader(const Call& call) {
  std::string_view text = call.exchange.request().headers.Get("X-Registry-Auth");
  if (text.empty()) return std::nullopt;
  Result<std::string> decoded = formats::DecodeBase64(text);
  if (!decoded.ok()) return std::nullopt;
  Result<Json> json = Json::Parse(*decoded);
  if (!json.ok()) return std::nullopt;
  return ReadLogin(*json);
}

std::optional<client::Credentials> CredentialsOfHeader(const Call& call) {
  std::optional<RegistryLogin> login = LoginOfHeader(call);
  if (!login || (login->username.empty() && login->identity_token.empty())) return std::nullopt;
  return client::Credentials{login->username, login->password, login->identity_token};
}

}  // namespace gantry::engine::api
