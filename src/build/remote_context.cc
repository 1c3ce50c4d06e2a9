// SPDX-License-Identifier: Apache-2.0
#include "build/remote_context.h"

#include <fcntl.h>

#include <utility>

#include "base/byte_stream.h"
#include "base/io.h"
#include "build/copy_source.h"
#include "build/download.h"
#include "build/git_source.h"
#include "dockerfile/lines.h"
#include "kernel/paths.h"

namespace gantry::build {

namespace {

// An archive, or else a Dockerfile alone.
Result<RemoteKind> TakeFile(const std::string& url, BorrowedFd beside, Context& context,
                            const StopToken& stop) {
  bool archive = TRY(IsArchive(beside, "file"));
  FdSource file(TRY(kernel::OpenIn(beside, "file", O_RDONLY | O_NOFOLLOW)), stop);
  if (archive) {
    TRY_WITH(context.Receive(file, stop), "unpacking the build context");
    return RemoteKind::kFiles;
  }
  UniqueFd text = TRY(kernel::OpenIn(beside, "file", O_RDONLY | O_NOFOLLOW));
  TRY(context.TakeDockerfile(
      TRY_WITH(ReadToEnd(text, dockerfile::kMaxBytes), "reading the Dockerfile of {}", url)));
  return RemoteKind::kDockerfile;
}

}  // namespace

bool IsRemoteContext(std::string_view text) {
  return IsGitUrl(text) || text.starts_with("http://") || text.starts_with("https://");
}

Result<RemoteKind> FetchContext(const std::string& url, Context& context, const StopToken& stop) {
  UniqueFd beside = TRY(context.MakeDirectory("remote"));
  if (IsGitUrl(url)) {
    GitTree tree = TRY(FetchGit(url, context.PathOf("remote"), GitDirectory::kDrop, stop));
    context.TakeFiles(std::move(tree.files), std::move(tree.path));
    return RemoteKind::kFiles;
  }
  TRY_WITH(DownloadFile(url, beside, "file", stop), "fetching the build context");
  return TakeFile(url, beside, context, stop);
}

Result<RemoteKind> TakeContext(const std::string& url,
                               const std::function<Result<>(BorrowedFd file)>& fetch,
                               Context& context, const StopToken& stop) {
  UniqueFd beside = TRY(context.MakeDirectory("remote"));
  UniqueFd file = TRY(kernel::OpenIn(beside, "file", O_WRONLY | O_CREAT | O_EXCL, 0600));
  TRY_WITH(fetch(file), "fetching the build context");
  return TakeFile(url, beside, context, stop);
}

}  // namespace gantry::build
