// SPDX-License-Identifier: Apache-2.0
#include "build/copy_source.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <memory>
#include <set>
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
  archive.takes = source.takes;
  HashSink sink;
  if (source.is_directory) {
    TRY(trees::ArchiveDirectory(source.parent, archive, sink));
  } else {
    archive.name = "file";
    TRY(trees::ArchiveFile(source.parent, source.name, archive, sink));
  }
  return sink.Hex();
}

trees::Take TakeUnlessIgnored(const dockerfile::IgnoreList& excludes, const std::string& path) {
  if (!excludes.Ignores(path)) return trees::Take::kYes;
  return excludes.has_exceptions() ? trees::Take::kContents : trees::Take::kNo;
}

// Of what is in a directory: a list of what to take first, then one of what not to.
std::function<trees::Take(const std::string&)> TakesOf(const FindRequest& request) {
  if (request.excludes.empty() && request.includes.empty()) return nullptr;
  return [includes = request.includes, excludes = request.excludes](const std::string& path) {
    if (!includes.empty() && !includes.Ignores(path)) return trees::Take::kContents;
    return excludes.empty() ? trees::Take::kYes : TakeUnlessIgnored(excludes, path);
  };
}

Result<CopySource> OpenSource(const FindRequest& request, const std::string& path) {
  CopySource source;
  size_t slash = path.rfind('/');
  source.base = path.substr(slash == std::string::npos ? 0 : slash + 1);
  std::string real = request.follows_links ? TRY(engine::FollowLinks(request.root, path)) : path;
  UniqueFd found = TRY(kernel::OpenIn(request.root, real, O_PATH | O_NOFOLLOW));
  struct stat status;
  if (::fstat(found.get(), &status) != 0) return ErrnoError("reading '{}'", path);
  source.is_directory = S_ISDIR(status.st_mode);
  if (source.is_directory) {
    source.parent = TRY(kernel::OpenIn(request.root, real, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    source.takes = TakesOf(request);
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
  if (request.in_classic_words) {
    return NotFound("{}: stat {}: file does not exist", request.missing, path);
  }
  return NotFound("{}: \"/{}\": not found", request.missing, dockerfile::CleanRelative(path));
}

using Fits = std::function<bool(const std::string& path)>;

// Paths below `directory` that fit.
Result<> Glob(BorrowedFd directory, const std::string& path, const Fits& fits, int depth,
              std::vector<std::string>* out) {
  if (depth > kMaxDepth) return MakeError(ErrorKind::kResourceExhausted, "too many levels");
  for (const std::string& name : TRY(ListDirectory(directory))) {
    std::string below = path.empty() ? name : path + "/" + name;
    if (fits(below)) out->push_back(below);
    UniqueFd inner(
        ::openat(directory.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (inner.valid()) TRY(Glob(inner, below, fits, depth + 1, out));
  }
  return {};
}

}  // namespace

Result<std::vector<std::string>> FindPaths(BorrowedFd root, const std::string& pattern) {
  std::vector<std::string> paths;
  UniqueFd directory = TRY(kernel::OpenIn(root, "", O_RDONLY | O_DIRECTORY));
  auto fits = [&](const std::string& path) { return dockerfile::MatchPath(pattern, path); };
  TRY(Glob(directory, "", fits, 0, &paths));
  return paths;
}

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

Result<CopySource> FindSource(const FindRequest& request, const std::string& path) {
  Result<CopySource> source = OpenSource(request, path);
  if (source.ok()) return source;
  int error = source.error().error_number();
  bool missing = error == ENOENT || error == ENOTDIR;
  return missing ? Missing(request, path) : std::move(source).error();
}

Result<CopySource> FindWithParents(const FindRequest& request, const std::string& pattern) {
  size_t pivot = pattern.find("/./");
  std::string base = pivot == std::string::npos ? "" : pattern.substr(0, pivot);
  std::string rest =
      dockerfile::CleanRelative(pivot == std::string::npos ? pattern : pattern.substr(pivot + 3));
  base = dockerfile::CleanRelative(base);
  for (const std::string& part : {base, rest}) {
    if (part != ".." && !part.starts_with("../")) continue;
    return InvalidArgument("forbidden path outside the build context: {} ()", pattern);
  }
  Result<std::string> real = engine::FollowLinks(request.root, base);
  Result<UniqueFd> directory =
      real.ok() ? kernel::OpenIn(request.root, *real, O_RDONLY | O_DIRECTORY) : real.error();
  if (!directory.ok()) return Missing(request, base);
  CopySource source;
  source.is_directory = true;
  source.parent = *std::move(directory);
  auto chosen = std::make_shared<std::set<std::string>>();
  if (dockerfile::HasWildcard(rest)) {
    std::vector<std::string> paths;
    // "**" is any number of directories there, as in .dockerignore. "./": no exception, no comment.
    auto list = TRY(dockerfile::IgnoreList::Parse("./" + rest));
    auto fits = [&](const std::string& path) { return list.Ignores(path); };
    TRY(Glob(source.parent, "", fits, 0, &paths));
    chosen->insert(paths.begin(), paths.end());
  } else if (kernel::OpenIn(source.parent, rest, O_PATH | O_NOFOLLOW, 0, kernel::Links::kRefuse)
                 .ok()) {
    chosen->insert(rest);
  }
  if (chosen->empty()) return Missing(request, pattern);
  source.takes = [chosen, excludes = request.excludes](const std::string& path) {
    // "" is the base itself, whose contents are everything.
    bool all = chosen->contains("");
    for (size_t end = 0; !all && end != std::string::npos;) {
      end = path.find('/', end == 0 ? 0 : end + 1);
      all = chosen->contains(path.substr(0, end));
    }
    if (all) return TakeUnlessIgnored(excludes, path);
    auto below = chosen->lower_bound(path + "/");
    bool above = below != chosen->end() && below->starts_with(path + "/");
    return above ? trees::Take::kContents : trees::Take::kNo;
  };
  source.hash = TRY(HashOf(source, request));
  return source;
}

Result<std::vector<CopySource>> FindAllWithParents(const FindRequest& request,
                                                   const std::string& pattern) {
  std::vector<CopySource> sources;
  size_t pivot = pattern.find("/./");
  std::string base =
      pivot == std::string::npos ? "" : dockerfile::CleanRelative(pattern.substr(0, pivot));
  if (!dockerfile::HasWildcard(base)) {
    sources.push_back(TRY(FindWithParents(request, pattern)));
    return sources;
  }
  for (const std::string& directory : TRY(FindPaths(request.root, base))) {
    auto found = FindWithParents(request, directory + pattern.substr(pivot));
    if (found.ok()) {
      sources.push_back(*std::move(found));
    } else if (found.error().kind() != ErrorKind::kNotFound) {
      return std::move(found).error();
    }
  }
  if (sources.empty()) return Missing(request, pattern);
  return sources;
}

Result<std::vector<CopySource>> FindSources(const FindRequest& request,
                                            const std::string& pattern) {
  std::string clean = dockerfile::CleanRelative(pattern);
  if (clean == ".." || clean.starts_with("../")) {
    return InvalidArgument("forbidden path outside the build context: {} ()", pattern);
  }
  std::vector<CopySource> sources;
  if (!dockerfile::HasWildcard(clean)) {
    CopySource source = TRY(FindSource(request, clean));
    bool left_out = !source.is_directory && request.excludes.Ignores(source.base);
    if (!left_out) sources.push_back(std::move(source));
    return sources;
  }
  for (const std::string& path : TRY(FindPaths(request.root, clean))) {
    CopySource source = TRY(OpenSource(request, path));
    bool left_out = !source.is_directory && request.excludes.Ignores(source.base);
    if (!left_out) sources.push_back(std::move(source));
  }
  return sources;
}

}  // namespace gantry::build
