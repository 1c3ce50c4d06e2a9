// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantry/build_context.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <climits>
#include <cstdlib>
#include <filesystem>
#include <string_view>
#include <utility>

#include "base/io.h"
#include "base/random.h"
#include "dockerfile/lines.h"
#include "formats/tar.h"
#include "trees/archive_tree.h"

namespace gantry::cli {
namespace {

constexpr size_t kTarBlock = 512;
constexpr size_t kTarMagicAt = 257;

bool IsUrl(std::string_view text) {
  for (std::string_view prefix :
       {"http://", "https://", "git://", "git@", "ssh://", "github.com/"}) {
    if (text.starts_with(prefix)) return true;
  }
  return false;
}

// A tar archive, or one that was compressed with gzip, bzip2, xz or zstd.
bool IsArchive(std::string_view begin) {
  for (std::string_view magic :
       {std::string_view("\x1f\x8b\x08", 3), std::string_view("BZh", 3),
        std::string_view("\xfd\x37zXZ\0", 6), std::string_view("\x28\xb5\x2f\xfd", 4)}) {
    if (begin.starts_with(magic)) return true;
  }
  return begin.size() >= kTarBlock && begin.substr(kTarMagicAt).starts_with("ustar");
}

Result<std::string> RealPath(const std::string& path, std::string_view what) {
  std::array<char, PATH_MAX> resolved;
  if (::realpath(path.c_str(), resolved.data()) != nullptr) return std::string(resolved.data());
  return ErrnoErrorOf(errno, fmt::format("unable to prepare context: unable to evaluate symlinks "
                                         "in {} path: lstat {}",
                                         what, path));
}

// Standard input's first bytes, as many as an archive is known by.
Result<std::string> ReadBegin(BorrowedFd input) {
  std::string begin(kTarBlock, '\0');
  size_t have = 0;
  while (have < begin.size()) {
    size_t count = TRY(ReadSome(input, begin.data() + have, begin.size() - have));
    if (count == 0) break;
    have += count;
  }
  begin.resize(have);
  return begin;
}

Result<BuildContext> FromInput(const std::string& dockerfile) {
  if (dockerfile == "-") {
    return InvalidArgument(
        "invalid argument: can't use stdin for both build context and "
        "dockerfile");
  }
  BorrowedFd input(STDIN_FILENO);
  BuildContext context;
  std::string begin = TRY(ReadBegin(input));
  if (begin.empty()) return InvalidArgument("unable to prepare context: build context is empty");
  context.dockerfile = dockerfile.empty() ? "Dockerfile" : dockerfile;
  if (IsArchive(begin)) {
    context.archive = std::move(begin);
    return context;
  }
  if (!dockerfile.empty()) {
    return InvalidArgument(
        "ambiguous Dockerfile source: both stdin and flag correspond to "
        "Dockerfiles");
  }
  context.dockerfile_text = begin + TRY(ReadToEnd(input, dockerfile::kMaxBytes));
  return context;
}

Result<> FindDockerfile(const std::string& directory, const std::string& asked,
                        BuildContext* context) {
  // One that the directory has no name for goes along under a name of its own.
  auto beside = [&](std::string text) {
    context->dockerfile_text = std::move(text);
    context->dockerfile = ".dockerfile." + RandomHex(10);
  };
  if (asked == "-") {
    beside(TRY(ReadToEnd(BorrowedFd(STDIN_FILENO), dockerfile::kMaxBytes)));
    return {};
  }
  std::string path = asked;
  if (path.empty()) {
    path = directory + "/Dockerfile";
    if (!PathExists(path) && PathExists(directory + "/dockerfile"))
      path = directory + "/dockerfile";
  }
  std::string real = TRY(RealPath(path, "Dockerfile"));
  std::string prefix = directory == "/" ? "/" : directory + "/";
  if (real.starts_with(prefix)) {
    context->dockerfile = real.substr(prefix.size());
  } else {
    beside(TRY_WITH(ReadFile(real, dockerfile::kMaxBytes), "unable to prepare context"));
    std::string ignored = real + ".dockerignore";
    if (PathExists(ignored)) {
      context->dockerfile_ignored = TRY(ReadFile(ignored, dockerfile::kMaxBytes));
    }
  }
  return {};
}

Result<BuildContext> FromDirectory(const std::string& path, const std::string& dockerfile) {
  struct stat status;
  if (::stat(path.c_str(), &status) != 0) {
    return InvalidArgument("unable to prepare context: path \"{}\" not found", path);
  }
  if (!S_ISDIR(status.st_mode)) {
    return InvalidArgument("unable to prepare context: context must be a directory: {}", path);
  }
  std::string directory = TRY(RealPath(path, "context"));
  BuildContext context;
  TRY(FindDockerfile(directory, dockerfile, &context));
  context.directory = TRY(OpenFile(directory, O_RDONLY | O_DIRECTORY));
  context.path = directory;
  std::string ignore_file = directory + "/.dockerignore";
  if (PathExists(ignore_file)) {
    std::string text = TRY(ReadFile(ignore_file, dockerfile::kMaxBytes));
    context.ignored =
        TRY_WITH(dockerfile::IgnoreList::Parse(text), "error reading '{}'", ignore_file);
  }
  return context;
}

}  // namespace

Result<BuildContext> OpenBuildContext(const std::string& path, const std::string& dockerfile) {
  if (path == "-") return FromInput(dockerfile);
  if (IsUrl(path)) {
    BuildContext context;
    context.remote = path;
    context.dockerfile = dockerfile;
    return context;
  }
  return FromDirectory(path, dockerfile);
}

Result<> WriteBuildContext(const BuildContext& context, BorrowedFd input, ByteSink& sink) {
  if (context.archive) {
    TRY(sink.Write(*context.archive));
    FdSource rest(input);
    TRY(CopyAll(rest, sink));
    return {};
  }
  formats::TarWriter tar(sink);
  if (context.dockerfile_text) {
    formats::TarEntry entry;
    entry.name = context.directory.valid() ? context.dockerfile : "Dockerfile";
    TRY(tar.WriteFile(std::move(entry), *context.dockerfile_text));
    // The directory's files are written behind it: only they end the archive.
    if (!context.directory.valid()) return tar.Finish();
    // The root's own entry changes nothing and brings the Dockerfile's to its end.
    TRY(tar.WriteHeader({.type = formats::TarType::kDirectory, .name = "./", .mode = 0755}));
  }
  trees::ArchiveRequest request;
  request.takes = [&](const std::string& below) {
    // The daemon needs both and drops what is to be left out.
    if (below == ".dockerignore" || below == context.dockerfile) return trees::Take::kYes;
    if (!context.ignored.Ignores(below)) return trees::Take::kYes;
    bool holds_dockerfile = context.dockerfile.starts_with(below + "/");
    return context.ignored.has_exceptions() || holds_dockerfile ? trees::Take::kContents
                                                                : trees::Take::kNo;
  };
  return trees::ArchiveDirectory(context.directory, request, sink);
}

}  // namespace gantry::cli
