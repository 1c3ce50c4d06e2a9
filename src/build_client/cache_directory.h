// SPDX-License-Identifier: Apache-2.0
//
// A build's cache in a directory of the user's ("type=local" of --cache-to and --cache-from), in
// the form of the OCI's image layout (image-spec, "Image Layout"), as BuildKit's clients have it:
// the engine reads and writes its blobs over the session (containerd.services.content.v1.Content).
// One thread.
#pragma once

#include <memory>
#include <string>

#include "base/error.h"
#include "formats/json.h"
#include "wire/grpc_connection.h"

namespace gantry::build_client {

// The digest of the manifest that has this name in the directory's index. kNotFound.
Result<std::string> FindCacheManifest(const std::string& directory, const std::string& tag);
// Makes the directory if it is not there.
Result<> PrepareCacheDirectory(const std::string& directory);
// Gives the manifest of the descriptor the name; manifests of other names stay.
Result<> NameCacheManifest(const std::string& directory, const std::string& tag,
                           formats::Json descriptor);

// Calls of Content/Read and Content/Write for the directory.
void ServeCacheRead(const std::shared_ptr<wire::GrpcCall>& call, const std::string& directory);
void ServeCacheWrite(const std::shared_ptr<wire::GrpcCall>& call, const std::string& directory);

}  // namespace gantry::build_client
