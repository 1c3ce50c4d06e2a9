// SPDX-License-Identifier: Apache-2.0
//
// What a container mounts, through its life: its mount points and volumes are made with it, filled
// from the image, mounted for each run, and released with it.
//
// What config.json can't name safely — a part of a volume, an image — is mounted at RUN/mounts/ID/N
// for the moment in which the runtime makes its own mount of it.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <set>
#include <utility>

#include "base/directory.h"
#include "base/io.h"
#include "base/log.h"
#include "base/random.h"
#include "engine/engine.h"
#include "engine/images.h"
#include "engine/mount_points.h"
#include "engine/mount_sources.h"
#include "engine/oci_spec.h"
#include "engine/root_view.h"
#include "formats/digest.h"
#include "kernel/copy_tree.h"
#include "kernel/mounts.h"
#include "kernel/paths.h"
#include "volumes/volumes.h"

namespace gantry::engine {
namespace {

constexpr size_t kVolumeNameBytes = 32;

// A later one takes the place of an earlier one at the same destination.
void Put(MountPoint point, std::vector<MountPoint>* points) {
  std::erase_if(*points,
                [&](const MountPoint& old) { return old.destination == point.destination; });
  points->push_back(std::move(point));
}

bool Has(const std::vector<MountPoint>& points, const std::string& destination) {
  return std::any_of(points.begin(), points.end(),
                     [&](const MountPoint& point) { return point.destination == destination; });
}

// --tmpfs hides a volume of the same destination.
bool IsHidden(const ContainerRecord& record, const MountPoint& point) {
  return point.type == "tmpfs" || record.host.tmpfs.contains(point.destination);
}

Result<UniqueFd> OpenPart(BorrowedFd root, const MountPoint& point, const std::string& place) {
  Result<UniqueFd> part = kernel::OpenIn(root, point.subpath, O_PATH, 0, kernel::Links::kBeneath);
  if (part.ok()) return part;
  if (part.error().error_number() == EXDEV) {
    return InvalidArgument("path concatenation escapes the base directory, base: {}, subpath: {}",
                           place, point.subpath);
  }
  Error error = ErrnoErrorOf(part.error().error_number(),
                             fmt::format("cannot access path {}/{}", place, point.subpath));
  return error;
}

// A directory for directories, a file for anything else.
Result<> MakePlace(const std::string& path, BorrowedFd source) {
  struct stat status;
  if (::fstat(source.get(), &status) != 0) return ErrnoError("looking at a mount's source");
  if (S_ISDIR(status.st_mode)) return MakeDirectories(path, 0700);
  return CreateFile(path, "", 0600);
}

}  // namespace

Result<> Engine::MakeMountPoints(bool read_only_non_recursive, ContainerRecord* record) {
  std::vector<MountPoint> points;
  for (const std::string& spec : record->host.volumes_from) {
    VolumesFrom from = TRY(ParseVolumesFrom(spec));
    auto other = Find(from.container);
    if (!other.ok()) return InvalidArgument("{}", other.error().message());
    for (MountPoint point : (*other)->record()->mounts) {
      point.writable = point.writable && from.writable;
      point.copy_data = false;
      point.inherited = true;
      if (point.type == "image") continue;
      Put(std::move(point), &points);
    }
  }
  for (MountPoint& point : TRY(ParseMountPoints(record->host, options_.root))) {
    if (point.type == "bind" && !point.writable && !point.read_only_force_recursive) {
      point.read_only_non_recursive |= read_only_non_recursive;
    }
    if (point.type == "bind" && !point.make_source && !PathExists(point.source)) {
      return InvalidArgument(
          "invalid mount config for type \"bind\": bind source path does not exist: {}",
          point.source);
    }
    if (point.type == "volume" && point.mode.empty()) point.mode = "z";
    if (point.type == "image") {
      NamedImage image = TRY(images_->Resolve(point.name));
      TRY(EnsureUnpacked(*this, image));
      point.source = image.documents->top_chain_id;
      point.image_id = image.documents->id;
      point.snapshot = fmt::format("{}-image-{}", record->id,
                                   formats::Digest::Of(point.destination).hex().substr(0, 16));
    }
    Put(std::move(point), &points);
  }
  for (const std::string& volume : record->config.volumes.names) {
    MountPoint point = TRY(NamelessVolume(volume, record->host.volume_driver));
    // --tmpfs takes the place of a volume without a name.
    bool hidden = point.name.empty() && record->host.tmpfs.contains(point.destination);
    if (!hidden && !Has(points, point.destination)) points.push_back(std::move(point));
  }
  for (MountPoint& point : points) {
    if (point.type != "volume" || !point.name.empty()) continue;
    point.name = RandomHex(kVolumeNameBytes);
    point.volume_labels[std::string(volumes::kAnonymousLabel)] = "";
  }
  record->mounts = std::move(points);
  return {};
}

Result<> Engine::CreateVolumesOf(ContainerRecord* record) {
  for (MountPoint& point : record->mounts) {
    if (point.type == "image") {
      TRY_WITH(containerd_->ViewSnapshot(
                   options_.snapshotter, point.snapshot, point.source,
                   {{"containerd.io/gc.root", FormatRfc3339Nano(record->created)}}),
               "mounting image '{}'", point.name);
    }
    if (point.type != "volume") continue;
    if (point.inherited) TRY(volumes_->Get(point.name));
    volumes::CreateRequest request;
    request.name = point.name;
    request.driver = point.driver;
    request.options = point.volume_options;
    request.labels = point.volume_labels;
    request.user = record->id;
    volumes::Volume volume = TRY(CreateVolume(request));
    point.driver = volume.driver;
    point.source = volumes_->DataPath(volume);
  }
  return {};
}

Result<> Engine::PopulateVolumes(const ContainerRecord& record,
                                 const std::vector<client::Mount>& root_mounts) {
  UniqueFd root;
  for (const MountPoint& point : record.mounts) {
    if (point.type != "volume" || point.inherited || root_mounts.empty()) continue;
    if (!point.copy_data && !point.anonymous) continue;
    if (!root.valid()) {
      root = TRY_WITH(OpenReadOnlyView(root_mounts.front()), "reading the image");
    }
    Result<UniqueFd> source =
        kernel::OpenIn(root, point.destination, O_RDONLY | O_DIRECTORY | O_NONBLOCK);
    if (!source.ok()) {
      int error = source.error().error_number();
      if (error == ENOENT) continue;
      if (error != ENOTDIR) return std::move(source).error().AddContext("reading the image");
      if (!point.anonymous) continue;
      return Internal("cannot mount volume over existing file, file exists {}", point.destination);
    }
    if (!point.copy_data) continue;
    auto fill = [&](BorrowedFd directory) {
      return kernel::CopyTree(*source, directory,
                              OpenLayers(root_mounts.front(), point.destination));
    };
    TRY_WITH(volumes_->Populate(point.name, record.id, point.subpath, fill),
             "failed to populate volume");
  }
  return {};
}

Result<std::vector<oci::Mount>> Engine::SetUpMounts(const ContainerRecord& record) {
  std::vector<MountPoint> points;
  for (const MountPoint& point : record.mounts) {
    if (!IsHidden(record, point)) points.push_back(point);
  }
  TRY(PrepareSources(&points));
  std::vector<oci::Mount> mounts;
  for (const MountPoint& point : points) {
    std::string source = point.source;
    if (point.type == "volume") {
      source = TRY(volumes_->Mount(point.name, record.id));
      PublishVolume("mount", point.name,
                    {{"container", record.id},
                     {"destination", point.destination},
                     {"driver", point.driver},
                     {"propagation", point.propagation},
                     {"read/write", point.writable ? "true" : "false"}});
    }
    if (point.type == "image" || !point.subpath.empty()) {
      source = TRY(MakeTransientMount(record, point, source, mounts.size()));
    }
    mounts.push_back(ToMount(point, source));
  }
  return mounts;
}

Result<std::string> Engine::MakeTransientMount(const ContainerRecord& record,
                                               const MountPoint& point, const std::string& source,
                                               size_t number) {
  UniqueFd root;
  if (point.type == "image") {
    auto mounts = TRY(containerd_->SnapshotMounts(options_.snapshotter, point.snapshot));
    if (mounts.empty()) return Internal("image '{}' has no files", point.name);
    root = TRY_WITH(OpenReadOnlyView(mounts.front()), "mounting image '{}'", point.name);
  } else {
    root = TRY(kernel::OpenRoot(source));
  }
  UniqueFd part = TRY(OpenPart(root, point, point.type == "image" ? point.name : source));
  // A part of a mount can be taken once that has a place (before Linux 6.15).
  if (point.type == "image") {
    TRY(AttachTransient(record.id, fmt::format("image-{}", number), root, root));
  }
  UniqueFd mount = TRY(kernel::CloneMount(part, "", kernel::BindKind::kRecursive));
  return AttachTransient(record.id, std::to_string(number), mount, part);
}

Result<std::string> Engine::AttachTransient(const std::string& id, const std::string& name,
                                            BorrowedFd mount, BorrowedFd like) {
  std::string directory = fmt::format("{}/mounts/{}", options_.state, id);
  std::string path = fmt::format("{}/{}", directory, name);
  TRY(MakeDirectories(directory, 0700));
  TRY(MakePlace(path, like));
  UniqueFd target = TRY(OpenFile(path, O_PATH | O_NOFOLLOW));
  TRY(kernel::AttachMount(mount, target));
  return path;
}

Result<std::vector<oci::Mount>> Engine::AttachStepMounts(const std::string& id, size_t number,
                                                         bool remapped) {
  std::vector<oci::Mount> mounts;
  auto container = FindById(id);
  auto inputs = container ? container->inputs() : nullptr;
  if (!inputs) return mounts;
  auto attach = [&](BorrowedFd mount, BorrowedFd like) {
    return AttachTransient(id, std::to_string(number++), mount, like);
  };
  for (const StepMount& step : inputs->mounts) {
    // A part of a mount can be taken once that has a place (before Linux 6.15).
    if (step.tree.valid()) {
      TRY_WITH(attach(step.tree, step.tree), "mounting '{}'", step.destination);
    }
    UniqueFd mount = TRY_WITH(kernel::CloneMount(step.part, "", kernel::BindKind::kBind),
                              "mounting '{}'", step.destination);
    std::string path = TRY_WITH(attach(mount, step.part), "mounting '{}'", step.destination);
    std::vector<std::string> options = {"rbind", "rprivate"};
    options.insert(options.end(), step.options.begin(), step.options.end());
    if (remapped && step.maps_ids) options.emplace_back(kMapped);
    mounts.push_back({step.destination, "bind", path, std::move(options), {}, {}});
  }
  return mounts;
}

void Engine::DropTransientMounts(const std::string& id) {
  std::string directory = fmt::format("{}/mounts/{}", options_.state, id);
  auto drop = [&]() -> Result<> {
    for (const std::string& name : TRY(ListDirectoryIfThere(directory))) {
      std::string path = directory + "/" + name;
      TRY(kernel::UnmountAll(path));
      if (::remove(path.c_str()) < 0) return ErrnoError("removing '{}'", path);
    }
    if (::rmdir(directory.c_str()) < 0 && errno != ENOENT) {
      return ErrnoError("removing directory '{}'", directory);
    }
    return {};
  };
  Result<> dropped = drop();
  if (!dropped.ok()) log::Warning("container {}: {}", id, dropped.error().message());
}

void Engine::ReleaseMounts(const ContainerRecord& record) {
  std::set<std::string> seen;
  for (const MountPoint& point : record.mounts) {
    if (point.type != "volume" || !seen.insert(point.name).second) continue;
    Result<bool> unmounted = volumes_->Unmount(point.name, record.id);
    if (!unmounted.ok()) {
      log::Warning("container {}: {}", record.id, unmounted.error().message());
    } else if (*unmounted) {
      PublishVolume("unmount", point.name, {{"container", record.id}, {"driver", point.driver}});
    }
  }
}

Result<> Engine::ReleaseVolumes(const ContainerRecord& record) {
  ReleaseMounts(record);
  for (const MountPoint& point : record.mounts) {
    if (point.type != "volume") continue;
    volumes_->RemoveUser(point.name, record.id);
    if (!record.state.removes_volumes || !point.anonymous) continue;
    Result<> removed = RemoveVolume(point.name);
    if (removed.ok() || removed.error().kind() == ErrorKind::kNotFound) continue;
    // Another container has it, by --volumes-from.
    if (removed.error().kind() == ErrorKind::kAborted) continue;
    return removed;
  }
  return {};
}

Result<> Engine::RemoveMountsOf(const ContainerRecord& record) {
  DropTransientMounts(record.id);
  for (const MountPoint& point : record.mounts) {
    if (point.type != "image") continue;
    Result<> removed = containerd_->RemoveSnapshot(options_.snapshotter, point.snapshot);
    if (!removed.ok() && removed.error().kind() != ErrorKind::kNotFound) return removed;
  }
  return ReleaseVolumes(record);
}

Result<> Engine::ReconcileVolumes() {
  std::map<std::string, std::set<std::string>> mounters;
  std::set<std::string> alive;
  for (const std::shared_ptr<Container>& container : All()) {
    Container::RecordPointer record = container->record();
    if (!record->state.IsAlive()) continue;
    alive.insert(record->id);
    for (const MountPoint& point : record->mounts) {
      if (point.type == "volume") mounters[point.name].insert(record->id);
    }
  }
  for (const std::string& id : TRY(ListDirectoryIfThere(options_.state + "/mounts"))) {
    DropTransientMounts(id);
  }
  return volumes_->Adopt(mounters);
}

}  // namespace gantry::engine
