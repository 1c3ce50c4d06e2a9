// SPDX-License-Identifier: Apache-2.0
//
// The files of volumes: where they are, mounting those with mount options, filling empty ones.
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "base/directory.h"
#include "base/io.h"
#include "base/log.h"
#include "base/random.h"
#include "kernel/mounts.h"
#include "kernel/paths.h"
#include "kernel/tree_size.h"
#include "volumes/local_driver.h"
#include "volumes/volumes.h"

namespace gantry::volumes {
namespace {

Result<bool> IsEmpty(BorrowedFd directory) {
  UniqueFd own(::openat(directory.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!own.valid()) return ErrnoError("listing a volume");
  DirectoryHandle listing(::fdopendir(own.get()));
  if (!listing) return ErrnoError("listing a volume");
  (void)own.Release();
  for (;;) {
    errno = 0;
    const dirent* entry = ::readdir(listing.get());
    if (entry == nullptr && errno != 0) return ErrnoError("listing a volume");
    if (entry == nullptr) return true;
    std::string_view name = entry->d_name;
    if (name != "." && name != "..") return false;
  }
}

Result<UniqueFd> OpenData(const std::string& path) {
  return OpenFile(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
}

Result<> FillInPlace(const std::string& path, const std::string& subpath,
                     const Volumes::Fill& fill) {
  UniqueFd data = TRY(OpenData(path));
  Result<UniqueFd> part = kernel::OpenIn(data, subpath, O_RDONLY | O_DIRECTORY | O_NONBLOCK, 0,
                                         kernel::Links::kBeneath);
  if (!part.ok()) {
    int error = part.error().error_number();
    if (error == ENOENT || error == ENOTDIR || error == EXDEV) return {};
    return std::move(part).error();
  }
  return TRY(IsEmpty(*part)) ? fill(*part) : Result<>();
}

}  // namespace

std::string Volumes::DataPath(const Volume& volume) const {
  const std::string& top = volume.NeedsMount() ? options_.run : options_.root;
  return fmt::format("{}/{}/_data", top, volume.name);
}

Result<std::string> Volumes::Mount(const std::string& name, const std::string& mounter) {
  auto turn = TRY(TakeTurn(name));
  Volume volume = TRY(Get(name));
  if (volume.NeedsMount()) {
    TRY_WITH(MountNow(volume), "error while mounting volume '{}'", DataPath(volume));
  }
  MutexLock lock(mutex_);
  volumes_[name].mounters.insert(mounter);
  return DataPath(volume);
}

Result<bool> Volumes::Unmount(const std::string& name, const std::string& mounter) {
  auto turn = TRY(TakeTurn(name));
  Volume volume;
  {
    MutexLock lock(mutex_);
    auto found = volumes_.find(name);
    if (found == volumes_.end() || found->second.mounters.erase(mounter) == 0) return false;
    if (!found->second.mounters.empty()) return true;
    volume = found->second.volume;
  }
  if (volume.NeedsMount()) TRY(UnmountNow(volume));
  return true;
}

// One that is there, of a dead engine's, is taken over.
Result<> Volumes::MountNow(const Volume& volume) {
  std::string path = DataPath(volume);
  if (TRY(kernel::IsMountPoint(path))) return {};
  TRY(MakeDirectories(path, 0700));
  UniqueFd mount = TRY(MountLocal(volume.options, path));
  UniqueFd target = TRY(OpenFile(path, O_PATH | O_DIRECTORY | O_NOFOLLOW));
  return kernel::AttachMount(mount, target);
}

Result<> Volumes::UnmountNow(const Volume& volume) {
  std::string path = DataPath(volume);
  TRY(kernel::UnmountAll(path));
  for (const std::string& directory : {path, options_.run + "/" + volume.name}) {
    if (::rmdir(directory.c_str()) < 0 && errno != ENOENT) {
      return ErrnoError("removing directory '{}'", directory);
    }
  }
  return {};
}

Result<> Volumes::Adopt(const std::map<std::string, std::set<std::string>>& mounters) {
  std::vector<Volume> all;
  {
    MutexLock lock(mutex_);
    for (auto& [name, state] : volumes_) {
      auto running = mounters.find(name);
      state.mounters = running == mounters.end() ? std::set<std::string>() : running->second;
      if (state.volume.NeedsMount()) all.push_back(state.volume);
    }
  }
  std::set<std::string> needed;
  for (const Volume& volume : all) {
    if (!mounters.contains(volume.name)) continue;
    needed.insert(volume.name);
    // Who runs has its own mount of it: only the next container would miss this one.
    Result<> mounted = MountNow(volume);
    if (!mounted.ok()) log::Warning("volume {}: {}", volume.name, mounted.error().message());
  }
  for (const std::string& name : TRY(ListDirectory(options_.run))) {
    if (!needed.contains(name)) {
      TRY(UnmountNow(Volume{.name = name, .options = {{"type", ""}}}));
    }
  }
  return {};
}

Result<> Volumes::Populate(const std::string& name, const std::string& user,
                           const std::string& subpath, const Fill& fill) {
  auto turn = TRY(TakeTurn(name));
  State state = TRY(Find(name));
  if (state.volume.NeedsMount()) return FillMounted(state.volume, subpath, fill);
  std::string path = DataPath(state.volume);
  bool alone = state.mounters.empty() && (state.users.empty() || state.users == std::set{user});
  if (!alone || !subpath.empty()) return FillInPlace(path, subpath, fill);
  UniqueFd data = TRY(OpenData(path));
  return TRY(IsEmpty(data)) ? FillAsWhole(path, fill) : Result<>();
}

Result<> Volumes::FillMounted(const Volume& volume, const std::string& subpath, const Fill& fill) {
  bool was_mounted = TRY(kernel::IsMountPoint(DataPath(volume)));
  TRY_WITH(MountNow(volume), "error while mounting volume '{}'", DataPath(volume));
  Result<> filled = FillInPlace(DataPath(volume), subpath, fill);
  if (was_mounted) return filled;
  Result<> unmounted = UnmountNow(volume);
  return filled.ok() ? unmounted : filled;
}

Result<> Volumes::FillAsWhole(const std::string& data, const Fill& fill) {
  std::string name = RandomHex(8);
  std::string unfinished = fmt::format("{}/{}", Home(".new"), name);
  if (::mkdir(unfinished.c_str(), 0755) < 0 || ::chmod(unfinished.c_str(), 0755) < 0) {
    return ErrnoError("making directory '{}'", unfinished);
  }
  UniqueFd directory = TRY(OpenData(unfinished));
  Result<> filled = fill(directory);
  if (filled.ok() && std::rename(unfinished.c_str(), data.c_str()) < 0 && errno != ENOTEMPTY &&
      errno != EEXIST) {
    filled = ErrnoError("renaming '{}' to '{}'", unfinished, data);
  }
  // What did not become the volume goes.
  UniqueFd parent = TRY(OpenData(Home(".new")));
  Result<> removed = kernel::RemoveTreeAt(parent, name);
  return filled.ok() ? removed : filled;
}

Result<int64_t> Volumes::SizeOf(const std::string& name) const {
  Volume volume = TRY(Get(name));
  if (volume.NeedsMount() && !TRY(kernel::IsMountPoint(DataPath(volume)))) return int64_t{0};
  return kernel::TreeSize(TRY(OpenData(DataPath(volume))));
}

}  // namespace gantry::volumes
