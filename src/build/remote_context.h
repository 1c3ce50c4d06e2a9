// SPDX-License-Identifier: Apache-2.0
//
// Contexts that are a URL: a git repository, an archive, or a Dockerfile alone. Any thread.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/stop_token.h"
#include "base/unique_fd.h"
#include "build/context.h"
#include "build/materials.h"
#include "build/request.h"

namespace gantry::build {

bool IsRemoteContext(std::string_view text);

enum class RemoteKind : uint8_t { kFiles, kDockerfile };
struct RemoteFiles {
  RemoteKind kind = RemoteKind::kFiles;
  // Seconds since 1970: of the commit, of the answer, or of an archive's newest file.
  std::optional<int64_t> time;
  std::optional<Material> material;  // a repository
};
// The request's own. What is no archive is a Dockerfile; it is the context's "Dockerfile" then.
Result<RemoteFiles> FetchContext(const BuildRequest& request, Context& context,
                                 const StopToken& stop);
// Of a named context into `name` beside the context: a repository's files, or the file "context".
struct RemoteTree {
  UniqueFd files;
  std::string path;
  std::optional<int64_t> time;  // as above
};
Result<RemoteTree> FetchNamed(const BuildRequest& request, const std::string& url, Context& context,
                              const std::string& name, const StopToken& stop);
// The newest file of an archive in a directory, seconds since 1970; nothing for none.
Result<std::optional<int64_t>> NewestOf(BorrowedFd directory, const std::string& name,
                                        const StopToken& stop);
// The same for what `fetch` writes into a file.
Result<RemoteFiles> TakeContext(const std::string& url,
                                const std::function<Result<>(BorrowedFd file)>& fetch,
                                Context& context, const StopToken& stop);

}  // namespace gantry::build
