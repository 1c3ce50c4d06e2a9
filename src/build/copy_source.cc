// SPDX-License-Identifier: Apache-2.0
#include "build/copy_source.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <utility>

#include "base/byte_stream.h"
#include "base/directory.h"
#include "base/text.h"
#include "dockerfile/patterns.h"
#include "engine/container_files.h"
#include "formats/compression/compression.h"
#include "formats/digest.h"
#include "formats/tar.h"
#include "kernel/paths.h"
#include "trees/archive_tree.h"

namespace gantry::build {
namespace {

constexpr int kMaxDepth = 1000;

class HashSink : public ByteSink {
 public:
  Result<> Write(std::string_view data) override {
    hash_.Update(data);
    return {};
  }
  std::string Hex() const { return std::string(hash_.Current().hex()); }

 private:
  formats::Hasher hash_;
};

// The archive that a copy goes through, without times: it is all that the copy shows.
Result<std::string> HashOf(const CopySource& source, const FindRequest& request) {
  trees::ArchiveRequest archive;
  archive.newest_seconds = 0;
  archive.stop = request.stop;
  HashSink sink;
  if (source.is_directory) {
    TRY(trees::ArchiveDirectory(source.parent, archive, sink));
  } else {
    archive.name = "file";
    TRY(trees::ArchiveFile(source.parent, source.name, archive, sink));
  }
  return sink.Hex();
}

Result<CopySource> OpenSource(const FindRequest& request, const std::string& path) {
  CopySource source;
  size_t slash = path.rfind('/');
  source.base = path.substr(slash == std::string::npos ? 0 : slash + 1);
  std::string real = TRY(engine::FollowLinks(request.root, path));
  UniqueFd found = TRY(kernel::OpenIn(request.root, real, O_PATH | O_NOFOLLOW));
  struct stat status;
  if (::fstat(found.get(), &status) != 0) return ErrnoError("reading '{}'", path);
  source.is_directory = S_ISDIR(status.st_mode);
  if (source.is_directory) {
    source.parent = TRY(kernel::OpenIn(request.root, real, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  } else {
    auto place = TRY(kernel::OpenParentIn(request.root, real));
    source.parent = std::move(place.parent);
    source.name = std::move(place.name);
    if (request.finds_archives && S_ISREG(status.st_mode)) {
      source.is_archive = TRY(IsArchive(source.parent, source.name));
    }
  }
  source.hash = TRY(HashOf(source, request));
  return source;
}

Error Missing(const FindRequest& request, const std::string& path) {
  return NotFound("{}: stat {}: file does not exist", request.missing, path);
}

// Paths below `directory` that the pattern fits.
Result<> Glob(BorrowedFd directory, const std::string& path, std::string_view pattern, int depth,
              std::vector<std::string>* out) {
  if (depth > kMaxDepth) return MakeError(ErrorKind::kResourceExhausted, "too many levels");
  for (const std::string& name : TRY(ListDirectory(directory))) {
    std::string below = path.empty() ? name : path + "/" + name;
    if (dockerfile::MatchPath(pattern, below)) out->push_back(below);
    UniqueFd inner(
        ::openat(directory.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (inner.valid()) TRY(Glob(inner, below, pattern, depth + 1, out));
  }
  return {};
}

}  // namespace

Result<bool> IsArchive(BorrowedFd parent, const std::string& name) {
  FdSource file(TRY(kernel::OpenIn(parent, name, O_RDONLY | O_NONBLOCK | O_NOFOLLOW)));
  auto plain = formats::compression::Decompress(file);
  if (!plain.ok()) {
    // bzip2 and xz: copying them as they are would not be what was asked for.
    if (plain.error().kind() == ErrorKind::kUnimplemented) {
      return std::move(plain).error().AddContext(fmt::format("unpacking {}", name));
    }
    return false;
  }
  formats::TarReader tar(**plain);
  formats::TarEntry entry;
  Result<bool> first = tar.NextEntry(&entry);
  return first.ok() && *first;
}

Result<std::vector<CopySource>> FindSources(const FindRequest& request,
                                            const std::string& pattern) {
  std::string clean = dockerfile::CleanRelative(pattern);
  if (clean == ".." || clean.starts_with("../")) {
    return InvalidArgument("forbidden path outside the build context: {} ()", pattern);
  }
  std::vector<CopySource> sources;
  if (!dockerfile::HasWildcard(clean)) {
    Result<CopySource> source = OpenSource(request, clean);
    if (!source.ok()) {
      int error = source.error().error_number();
      bool missing = error == ENOENT || error == ENOTDIR;
      return missing ? Missing(request, clean) : std::move(source).error();
    }
    sources.push_back(*std::move(source));
    return sources;
  }
  std::vector<std::string> paths;
  UniqueFd root = TRY(kernel::OpenIn(request.root, "", O_RDONLY | O_DIRECTORY));
  TRY(Glob(root, "", clean, 0, &paths));
  for (const std::string& path : paths) sources.push_back(TRY(OpenSource(request, path)));
  return sources;
}

}  // namespace gantry::build
