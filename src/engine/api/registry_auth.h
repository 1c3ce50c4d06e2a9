// SPDX-License-Identifier: Apache-2.0
//
// docker's AuthConfig: in the header X-Registry-Auth as base64 of JSON, in the body of POST /auth
// as JSON. Pure; any thread.
#pragma once

#include <optional>

#include "engine/api/api.h"
#include "engine/registry_calls.h"

namespace gantry::engine::api {

RegistryLogin ReadLogin(const formats::Json& json);
// Nothing without the header, and for one that can't be read, which docker ignores. Both alphabets
// of base64 are taken, with and without padding.
std::optional<RegistryLogin> LoginOfHeader(const Call& call);
// The same for the container daemon.
std::optional<client::Credentials> CredentialsOfHeader(const Call& call);

}  // namespace gantry::engine::api
