// SPDX-License-Identifier: Apache-2.0
#include "build/remote_context.h"

#include <fcntl.h>

#include <algorithm>
#include <utility>

#include "base/byte_stream.h"
#include "base/io.h"
#include "base/text.h"
#include "build/copy_source.h"
#include "build/download.h"
#include "build/git_source.h"
#include "dockerfile/lines.h"
#include "formats/compression/compression.h"
#include "formats/tar.h"
#include "kernel/paths.h"

namespace gantry::build {

namespace {

// An archive, or else a Dockerfile alone.
Result<RemoteFiles> TakeFile(const std::string& url, BorrowedFd beside, Context& context,
                             const StopToken& stop) {
  RemoteFiles out;
  bool archive = TRY(IsArchive(beside, "file"));
  FdSource file(TRY(kernel::OpenIn(beside, "file", O_RDONLY | O_NOFOLLOW)), stop);
  if (archive) {
    TRY_WITH(context.Receive(file, stop), "unpacking the build context");
    out.time = TRY(NewestOf(beside, "file", stop));
    return out;
  }
  UniqueFd text = TRY(kernel::OpenIn(beside, "file", O_RDONLY | O_NOFOLLOW));
  TRY(context.TakeDockerfile(
      TRY_WITH(ReadToEnd(text, dockerfile::kMaxBytes), "reading the Dockerfile of {}", url)));
  out.kind = RemoteKind::kDockerfile;
  return out;
}

// Whether an argument is given that says yes or no. nullopt: it says neither.
std::optional<bool> FlagOf(const BuildRequest& request, const std::string& name) {
  auto given = request.arguments.find(name);
  if (given == request.arguments.end() || !given->second) return std::nullopt;
  std::string value = Lower(*given->second);
  if (value == "1" || value == "t" || value == "true") return true;
  if (value == "0" || value == "f" || value == "false") return false;
  return std::nullopt;
}

Result<RemoteFiles> FetchRepository(const BuildRequest& request, Context& context,
                                    const StopToken& stop) {
  GitUrl url = TRY(ParseGitUrl(request.remote));
  if (FlagOf(request, "BUILDKIT_CONTEXT_KEEP_GIT_DIR").value_or(false)) {
    url.keeps_git_directory = true;
  }
  // Files that are older than the epoch are of one time, too.
  auto epoch = request.arguments.find("SOURCE_DATE_EPOCH");
  bool has_epoch = epoch != request.arguments.end() && !epoch->second.value_or("").empty();
  url.commit_times = url.commit_times || has_epoch;
  GitAccess access = TRY(FindGitAccess(request, url));
  GitTree tree = TRY(FetchGit(url, context.PathOf("remote"), access, stop));
  context.TakeFiles(std::move(tree.files), std::move(tree.path));
  return RemoteFiles{RemoteKind::kFiles, tree.committed, MaterialOf(url, tree)};
}

}  // namespace

bool IsRemoteContext(std::string_view text) {
  return IsGitUrl(text) || text.starts_with("http://") || text.starts_with("https://");
}

Result<RemoteFiles> FetchContext(const BuildRequest& request, Context& context,
                                 const StopToken& stop) {
  const std::string& url = request.remote;
  UniqueFd beside = TRY(context.MakeDirectory("remote"));
  if (IsGitUrl(url)) return FetchRepository(request, context, stop);
  TRY_WITH(DownloadFile(url, beside, "file", stop), "fetching the build context");
  RemoteFiles files = TRY(TakeFile(url, beside, context, stop));
  if (auto time = TRY(DownloadTime(beside, "file"))) files.time = time;
  return files;
}

Result<std::optional<int64_t>> NewestOf(BorrowedFd directory, const std::string& name,
                                        const StopToken& stop) {
  FdSource file(TRY(kernel::OpenIn(directory, name, O_RDONLY | O_NOFOLLOW)), stop);
  auto plain = TRY(formats::compression::Decompress(file));
  formats::TarReader tar(*plain);
  formats::TarEntry entry;
  std::optional<int64_t> newest;
  while (TRY(tar.NextEntry(&entry))) {
    if (entry.type != formats::TarType::kFile) continue;
    newest = std::max(newest.value_or(entry.mtime_seconds), entry.mtime_seconds);
  }
  return newest;
}

Result<RemoteTree> FetchNamed(const BuildRequest& request, const std::string& url, Context& context,
                              const std::string& name, const StopToken& stop) {
  UniqueFd files = TRY(context.MakeDirectory(name));
  std::string path = context.PathOf(name);
  if (IsGitUrl(url)) {
    GitUrl parsed = TRY(ParseGitUrl(url));
    GitAccess access = TRY(FindGitAccess(request, parsed));
    GitTree tree = TRY(FetchGit(parsed, path, access, stop));
    return RemoteTree{std::move(tree.files), std::move(tree.path), tree.committed};
  }
  TRY_WITH(DownloadFile(url, files, "context", stop), "fetching the build context");
  RemoteTree tree{std::move(files), std::move(path), {}};
  tree.time = TRY(DownloadTime(tree.files, "context"));
  if (!tree.time && TRY(IsArchive(tree.files, "context"))) {
    tree.time = TRY(NewestOf(tree.files, "context", stop));
  }
  return tree;
}

Result<RemoteFiles> TakeContext(const std::string& url,
                                const std::function<Result<>(BorrowedFd file)>& fetch,
                                Context& context, const StopToken& stop) {
  UniqueFd beside = TRY(context.MakeDirectory("remote"));
  UniqueFd file = TRY(kernel::OpenIn(beside, "file", O_WRONLY | O_CREAT | O_EXCL, 0600));
  TRY_WITH(fetch(file), "fetching the build context");
  return TakeFile(url, beside, context, stop);
}

}  // namespace gantry::build
