// SPDX-License-Identifier: Apache-2.0
//
// docker cp's side of the engine: looking at paths in a container, archives out of it and into it;
// and export.
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <functional>
#include <optional>
#include <set>
#include <utility>

#include "base/io.h"
#include "base/log.h"
#include "base/text.h"
#include "engine/accounts.h"
#include "engine/container_files.h"
#include "engine/engine.h"
#include "engine/host_files.h"
#include "engine/root_view.h"
#include "formats/compression/compression.h"
#include "kernel/filesystem_user.h"
#include "kernel/mount_view.h"
#include "kernel/mounts.h"
#include "kernel/paths.h"
#include "trees/archive_tree.h"
#include "trees/extract_tree.h"

namespace gantry::engine {
namespace {

// What nobody finds in a container is said like this.
Error NotThere(Error error, const std::string& path, std::string_view reference) {
  if (error.error_number() != ENOENT) return error;
  return NotFound("Could not find the file {} in container {}", path, reference);
}

// The places of what the user has mounted. The engine's own mounts (/proc, /dev, …) are no part of
// what is copied.
std::set<std::string> PlacesOf(const ContainerRecord& record) {
  std::set<std::string> places = {"/etc/hosts", "/etc/hostname", "/etc/resolv.conf"};
  for (const MountPoint& point : record.mounts) places.insert(point.destination);
  for (const auto& [place, options] : record.host.tmpfs) places.insert(CleanPath(place));
  return places;
}

bool IsAtOrBelow(const std::string& path, const std::set<std::string>& places) {
  for (size_t end = path.size(); end != 0 && end != std::string::npos;
       end = path.rfind('/', end - 1)) {
    if (places.contains(path.substr(0, end))) return true;
  }
  return false;
}

// How long the news of a process's end may take.
constexpr std::chrono::seconds kEndBound(10);

// Whom the kernel names for an id without a mapping.
constexpr uint32_t kNobody = 65534;

std::function<Result<std::pair<uid_t, gid_t>>(uid_t, gid_t)> OwnersOf(const UserRemap& remap) {
  return [&remap](uid_t uid, gid_t gid) -> Result<std::pair<uid_t, gid_t>> {
    std::optional<uint32_t> mapped_uid = ToHost(remap.uids, uid);
    std::optional<uint32_t> mapped_gid = ToHost(remap.gids, gid);
    if (mapped_uid && mapped_gid) return std::pair(uid_t{*mapped_uid}, gid_t{*mapped_gid});
    return InvalidArgument("Container ID {} cannot be mapped to a host ID", mapped_uid ? gid : uid);
  };
}

}  // namespace

Result<ContainerFiles> Engine::OpenFiles(std::string_view reference) {
  ContainerFiles files;
  files.container = TRY(Find(reference));
  files.record = TRY(files.container->RecordAfterStart());
  if (files.record->state.IsAlive()) {
    Result<UniqueFd> root = OpenRootOfProcess(*files.record);
    if (root.ok()) {
      files.root = std::move(*root);
      if (IsRemapped(*files.record)) files.remap = &*options_.remap;
      return files;
    }
    // It has ended just now, and its end is on its way here.
    if (root.error().kind() != ErrorKind::kAborted) return std::move(root).error();
    if (!WaitForExit(*files.container, kEndBound)) return std::move(root).error();
  }
  files.turn.emplace(TRY(files.container->TakeTurn()));
  files.record = files.container->record();
  const ContainerRecord& record = *files.record;
  if (record.state.IsAlive()) {
    files.turn.reset();
    files.root = TRY(OpenRootOfProcess(record));
    if (IsRemapped(record)) files.remap = &*options_.remap;
    return files;
  }
  if (record.state.phase == Phase::kRemoving || record.state.phase == Phase::kDead) {
    return MakeError(ErrorKind::kAborted, "container {} is marked for removal", reference);
  }
  auto mounts = TRY(containerd_->SnapshotMounts(options_.snapshotter, record.id));
  if (mounts.empty()) return Internal("container {} has no files", reference);
  const client::Mount& mount = mounts.front();
  UniqueFd root = TRY_WITH(kernel::MountDetached(mount.type, mount.source, mount.options),
                           "mounting the root of {}", record.id);
  files.cleanup.Push([this, kept = files.record] {
    DropTransientMounts(kept->id);
    ReleaseMounts(*kept);
  });
  std::vector<oci::Mount> mounted = TRY(SetUpMounts(record));
  for (oci::Mount& own : HostFileMounts(ContainerDirectory(record.id))) {
    auto hides = [&](const oci::Mount& one) { return one.destination == own.destination; };
    bool hidden = std::any_of(mounted.begin(), mounted.end(), hides);
    // One that has never run has none.
    if (!hidden && PathExists(own.source)) mounted.push_back(std::move(own));
  }
  std::vector<kernel::PlacedMount> placed;
  for (const oci::Mount& one : mounted) {
    placed.push_back(
        {TRY(kernel::MountDetached("bind", one.source, one.options)), one.destination});
  }
  // Parents before children.
  auto depth = [](const kernel::PlacedMount& mount) {
    return std::count(mount.place.begin(), mount.place.end(), '/');
  };
  std::stable_sort(placed.begin(), placed.end(),
                   [&](const auto& a, const auto& b) { return depth(a) < depth(b); });
  kernel::MountView view = TRY(kernel::MakeMountView(std::move(root), std::move(placed)));
  files.name_space = std::move(view.name_space);
  files.root = std::move(view.root);
  return files;
}

Result<PathStat> Engine::StatPath(std::string_view reference, const std::string& path) {
  ContainerFiles files = TRY(OpenFiles(reference));
  Result<PathStat> stat = StatIn(files.root, CleanPathOfCopy(path));
  if (!stat.ok()) return NotThere(std::move(stat).error(), path, reference);
  return stat;
}

Result<> Engine::GetArchive(std::string_view reference, const std::string& path,
                            const std::function<Result<>(const PathStat&)>& begin, ByteSink& sink) {
  ContainerFiles files = TRY(OpenFiles(reference));
  std::string clean = CleanPathOfCopy(path);
  Result<PathStat> stat = StatIn(files.root, clean);
  if (!stat.ok()) return NotThere(std::move(stat).error(), path, reference);
  std::set<std::string> places = PlacesOf(*files.record);
  trees::ArchiveRequest request;
  request.name = stat->name;
  if (files.remap != nullptr) {
    request.map_owner = [remap = files.remap](uid_t uid, gid_t gid) {
      return std::pair(ToContainer(remap->uids, uid).value_or(kNobody),
                       ToContainer(remap->gids, gid).value_or(kNobody));
    };
  }
  if (!stat->is_directory) {
    kernel::ParentAndName place = TRY(kernel::OpenParentIn(files.root, clean));
    TRY(begin(*stat));
    TRY(trees::ArchiveFile(place.parent, place.name, request, sink));
  } else {
    UniqueFd directory = TRY(kernel::OpenIn(files.root, clean, O_RDONLY | O_DIRECTORY));
    std::string top = TRY(FollowLinks(files.root, clean));
    request.enters_mount = [&](const std::string& below) {
      return IsAtOrBelow(top == "/" ? "/" + below : top + "/" + below, places);
    };
    TRY(begin(*stat));
    TRY(trees::ArchiveDirectory(directory, request, sink));
  }
  Publish("archive-path", *files.record);
  return {};
}

Result<> Engine::PutArchive(std::string_view reference, const std::string& path,
                            PutArchiveOptions options, ByteSource& archive) {
  auto plain = TRY(formats::compression::Decompress(archive));
  ContainerFiles files = TRY(OpenFiles(reference));
  std::string clean = CleanPathOfCopy(path);
  Result<UniqueFd> directory = kernel::OpenIn(files.root, clean, O_PATH | O_DIRECTORY);
  if (!directory.ok()) {
    if (directory.error().error_number() == ENOTDIR) {
      return InvalidArgument("extraction point is not a directory");
    }
    return NotThere(std::move(directory).error(), path, reference);
  }
  TRY(CheckWritable(files.root, *directory, files.record->host.readonly_rootfs));
  trees::EntryMaker::Options extract;
  extract.root = files.root;
  extract.base = TRY(FollowLinks(files.root, clean)).substr(1);
  extract.keeps_kinds = options.keeps_kinds;
  if (options.copy_owner && !files.record->config.user.empty()) {
    Accounts accounts = TRY(ReadAccounts(files.root));
    ResolvedUser user = TRY(ResolveUser(files.record->config.user, {}, accounts));
    extract.owner = std::pair(uid_t{user.uid}, gid_t{user.gid});
  }
  kernel::FilesystemUser user;
  if (files.remap != nullptr) {
    TRY(user.Become(files.remap->root_uid(), files.remap->root_gid()));
    extract.map_owner = OwnersOf(*files.remap);
  }
  TRY(trees::ExtractTree(std::move(extract), *plain));
  Publish("extract-to-dir", *files.record);
  return {};
}

Result<> Engine::Export(std::string_view reference, const std::function<Result<>()>& begin,
                        ByteSink& sink) {
  auto container = TRY(Find(reference));
  UniqueFd mount = TRY(OpenRootAlone(*container));
  UniqueFd root = TRY(kernel::OpenIn(mount, "", O_RDONLY | O_DIRECTORY));
  trees::ArchiveRequest request;
  request.enters_mount = [](const std::string&) { return false; };
  TRY(begin());
  TRY(trees::ArchiveDirectory(root, request, sink));
  Publish("export", *container->record());
  return {};
}

Result<UniqueFd> Engine::OpenRootAlone(Container& container) {
  Container::RecordPointer record = TRY(container.RecordAfterStart());
  if (record->state.IsAlive() && !IsRemapped(*record)) {
    Result<UniqueFd> root = CloneRootOfProcess(*record);
    if (root.ok()) return root;
    log::Debug("container {}: {}", container.id(), root.error().message());
  }
  auto mounts = TRY(containerd_->SnapshotMounts(options_.snapshotter, record->id));
  if (mounts.empty()) return Internal("container {} has no files", record->id);
  return OpenReadOnlyView(mounts.front());
}

}  // namespace gantry::engine
