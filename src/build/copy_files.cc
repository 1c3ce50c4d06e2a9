// SPDX-License-Identifier: Apache-2.0
#include "build/copy_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <functional>

#include "base/byte_stream.h"
#include "base/text.h"
#include "engine/accounts.h"
#include "engine/container_files.h"
#include "formats/compression/compression.h"
#include "kernel/paths.h"
#include "trees/archive_tree.h"
#include "trees/extract_tree.h"

namespace gantry::build {
namespace {

std::string ParentOf(const std::string& path) {
  size_t slash = path.rfind('/');
  return slash == std::string::npos || slash == 0 ? "/" : path.substr(0, slash);
}

bool IsDirectoryIn(BorrowedFd root, const std::string& path) {
  return kernel::OpenIn(root, path, O_PATH | O_DIRECTORY).ok();
}

// Those that are missing get the owner and the mode.
Result<> MakeDirectories(BorrowedFd root, const std::string& path, OwnerIds owner, mode_t mode) {
  std::vector<std::string> missing;
  std::string at;
  for (const std::string& part : SplitWords(path, "/")) {
    at += "/" + part;
    if (!IsDirectoryIn(root, at)) missing.push_back(at);
  }
  TRY(kernel::MakeDirectoriesIn(root, path, owner));
  for (const std::string& one : missing) {
    UniqueFd made = TRY(kernel::OpenIn(root, one, O_RDONLY | O_DIRECTORY));
    if (::fchmod(made.get(), mode) != 0) return ErrnoError("changing the mode of '{}'", one);
  }
  return {};
}

// One thread reads the source as an archive while the caller extracts it.
Result<> Extract(const CopyRequest& request, const std::string& base,
                 const std::function<Result<>(ByteSink&)>& read) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return ErrnoError("making a pipe");
  UniqueFd from(ends[0]);
  UniqueFd to(ends[1]);
  auto reader = request.workers->Async([&]() -> Result<> {
    FdSink sink{BorrowedFd(to)};
    Result<> result = read(sink);
    to.Reset();
    return result;
  });
  trees::EntryMaker::Options options;
  options.root = request.root;
  options.base = base.substr(base.find_first_not_of('/') == std::string::npos ? base.size() : 1);
  options.owner = request.owner;
  options.mode = request.mode;
  options.time = request.time;
  FdSource source(BorrowedFd(from), request.stop);
  Result<> extracted = trees::ExtractTree(std::move(options), source, request.stop);
  // A reader that still writes must not wait for ever.
  from.Reset();
  Result<> was_read = reader.get();
  if (!was_read.ok() && was_read.error().error_number() != EPIPE) return was_read;
  return extracted;
}

Result<> CopyDirectory(const CopyRequest& request, const CopySource& source,
                       const std::string& place) {
  // What is above it stays root's.
  if (TRY(kernel::MakeDirectoriesIn(request.root, place, OwnerIds(0, 0))) && request.owner) {
    UniqueFd top = TRY(kernel::OpenIn(request.root, place, O_RDONLY | O_DIRECTORY));
    if (::fchown(top.get(), request.owner->first, request.owner->second) != 0) {
      return ErrnoError("changing the owner of '{}'", place);
    }
  }
  return Extract(request, place, [&](ByteSink& sink) {
    trees::ArchiveRequest archive;
    archive.stop = request.stop;
    archive.takes = source.takes;
    return trees::ArchiveDirectory(source.parent, archive, sink);
  });
}

Result<> CopyFile(const CopyRequest& request, const CopySource& source, const std::string& place) {
  std::string parent = ParentOf(place);
  bool with_mode = request.mode_is_of_parents && request.mode;
  mode_t mode = with_mode ? request.mode->Apply(0755, true) : 0755;
  TRY(MakeDirectories(request.root, parent, request.owner.value_or(OwnerIds(0, 0)), mode));
  return Extract(request, parent, [&](ByteSink& sink) {
    trees::ArchiveRequest archive;
    archive.name = place.substr(place.rfind('/') + 1);
    return trees::ArchiveFile(source.parent, source.name, archive, sink);
  });
}

// Owners are the archive's own, as docker has it; BuildKit's builds may wish for another one.
Result<> Unpack(const CopyRequest& request, const CopySource& source, const std::string& place) {
  TRY(kernel::MakeDirectoriesIn(request.root, place, OwnerIds(0, 0)));
  FdSource file(
      TRY(kernel::OpenIn(source.parent, source.name, O_RDONLY | O_NONBLOCK | O_NOFOLLOW)));
  auto plain = TRY(formats::compression::Decompress(file));
  trees::EntryMaker::Options options;
  options.root = request.root;
  options.base = place == "/" ? "" : place.substr(1);
  options.owner = request.unpacked_owner;
  return trees::ExtractTree(std::move(options), *plain, request.stop);
}

Result<> CopyOne(const CopyRequest& request, const CopySource& source) {
  bool into = request.destination.ends_with('/');
  std::string place = TRY(engine::FollowLinks(request.root, request.destination));
  if (source.is_directory) return CopyDirectory(request, source, place);
  if (source.is_archive) return Unpack(request, source, place);
  if (into || IsDirectoryIn(request.root, place)) {
    place = (place == "/" ? "" : place) + "/" + source.base;
  }
  return CopyFile(request, source, place);
}

}  // namespace

Result<OwnerIds> ParseOwner(BorrowedFd root, const std::string& text) {
  size_t colon = text.find(':');
  std::string user = text.substr(0, colon);
  std::string group = colon == std::string::npos ? user : text.substr(colon + 1);
  engine::Accounts accounts = TRY(engine::ReadAccounts(root));
  auto resolved = TRY_WITH(engine::ResolveUser(user + ":" + group, {}, accounts),
                           "can't resolve the owner '{}'", text);
  return OwnerIds(resolved.uid, resolved.gid);
}

Result<> CopyInto(const CopyRequest& request, const std::vector<CopySource>& sources) {
  for (const CopySource& source : sources) {
    TRY_WITH(CopyOne(request, source), "copying {}", source.base);
  }
  return {};
}

}  // namespace gantry::build
