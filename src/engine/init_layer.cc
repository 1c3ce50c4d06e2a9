// SPDX-License-Identifier: Apache-2.0
#include "engine/init_layer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <utility>
#include <vector>

#include "base/log.h"
#include "base/text.h"
#include "base/undo.h"
#include "engine/engine.h"
#include "engine/image_index.h"
#include "engine/new_image.h"
#include "kernel/mounts.h"

namespace gantry::engine {
namespace {

constexpr mode_t kMode = 0755;  // docker's, of files too

enum class Kind { kDirectory, kFile, kLink };
struct Entry {
  const char* path;
  Kind kind;
  const char* target = "";  // of a link
};
constexpr Entry kEntries[] = {
    {"/.dockerenv", Kind::kFile},      {"/dev/console", Kind::kFile},
    {"/dev/pts", Kind::kDirectory},    {"/dev/shm", Kind::kDirectory},
    {"/etc/hostname", Kind::kFile},    {"/etc/hosts", Kind::kFile},
    {"/etc/resolv.conf", Kind::kFile}, {"/etc/mtab", Kind::kLink, "/proc/mounts"},
    {"/proc", Kind::kDirectory},       {"/sys", Kind::kDirectory},
};

// Whether a directory is there; anything else of that name is removed.
Result<bool> KeepDirectory(BorrowedFd parent, const std::string& name) {
  struct stat status;
  if (::fstatat(parent.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == ENOENT) return false;
    return ErrnoError("looking at '{}'", name);
  }
  if (S_ISDIR(status.st_mode)) return true;
  if (::unlinkat(parent.get(), name.c_str(), 0) != 0) return ErrnoError("removing '{}'", name);
  return false;
}

Result<UniqueFd> EnterDirectory(BorrowedFd parent, const std::string& name) {
  bool there = TRY(KeepDirectory(parent, name));
  if (!there && ::mkdirat(parent.get(), name.c_str(), kMode) != 0) {
    return ErrnoError("making directory '{}'", name);
  }
  UniqueFd directory(
      ::openat(parent.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!directory.valid()) return ErrnoError("opening directory '{}'", name);
  if (!there && ::fchmod(directory.get(), kMode) != 0) return ErrnoError("chmod of '{}'", name);
  return directory;
}

Result<> MakeFile(BorrowedFd parent, const std::string& name) {
  UniqueFd file(::openat(parent.get(), name.c_str(),
                         O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, kMode));
  if (!file.valid()) return ErrnoError("making file '{}'", name);
  if (::fchmod(file.get(), kMode) != 0) return ErrnoError("chmod of '{}'", name);
  return {};
}

Result<> MakeEntry(BorrowedFd root, const Entry& entry) {
  std::vector<std::string> names = SplitWords(entry.path, "/");
  std::string last = std::move(names.back());
  names.pop_back();
  UniqueFd inner;
  BorrowedFd parent = root;
  for (const std::string& name : names) {
    inner = TRY(EnterDirectory(parent, name));
    parent = inner;
  }
  if (entry.kind == Kind::kDirectory) {
    TRY(EnterDirectory(parent, last));
    return {};
  }
  if (TRY(KeepDirectory(parent, last))) return {};
  if (entry.kind == Kind::kFile) return MakeFile(parent, last);
  if (::symlinkat(entry.target, parent.get(), last.c_str()) != 0) {
    return ErrnoError("making link '{}'", last);
  }
  return {};
}

}  // namespace

std::string InitLayerName(const std::string& chain_id) { return "gantry-init-" + chain_id; }

Result<> FillInitLayer(BorrowedFd root) {
  for (const Entry& entry : kEntries) TRY_WITH(MakeEntry(root, entry), "making {}", entry.path);
  return {};
}

Result<> MakeInitLayer(Engine& engine, const ImageDocuments& image) {
  client::Containerd& containerd = engine.containerd();
  const std::string& snapshotter = engine.options().snapshotter;
  std::string name = InitLayerName(image.top_chain_id);
  Lease lease = TRY(Lease::Take(containerd));
  std::string key = lease.id() + "-init";
  auto mounts =
      TRY(containerd.PrepareSnapshot(snapshotter, key, image.top_chain_id, {}, lease.id()));
  Undo drop;
  drop.Push([&] {
    Result<> removed = containerd.RemoveSnapshot(snapshotter, key);
    if (!removed.ok()) log::Warning("removing snapshot {}: {}", key, removed.error().message());
  });
  if (mounts.empty()) return Internal("snapshot {} has no files", key);
  {
    const client::Mount& mount = mounts.front();
    UniqueFd root = TRY_WITH(kernel::MountDetached(mount.type, mount.source, mount.options),
                             "mounting the init layer");
    TRY(FillInitLayer(root));
  }
  Result<> committed = containerd.CommitSnapshot(snapshotter, lease.id(), name, key);
  if (committed.ok()) {
    drop.Commit();
  } else if (committed.error().kind() != ErrorKind::kAlreadyExists) {
    return std::move(committed).error();
  }
  return containerd.SetBlobLabels(
      image.id, {{fmt::format("containerd.io/gc.ref.snapshot.{}/init", snapshotter), name}});
}

}  // namespace gantry::engine
