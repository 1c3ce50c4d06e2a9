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

}  // namespace gantry::build
