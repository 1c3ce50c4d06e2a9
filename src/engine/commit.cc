// SPDX-License-Identifier: Apache-2.0
//
// POST /commit: an image from a container's writable layer.
#include <utility>

#include "base/log.h"
#include "base/undo.h"
#include "engine/image_changes.h"
#include "engine/new_image.h"

namespace gantry::engine {
namespace {

// Two blocks of zeros: a tar without an entry.
constexpr std::string_view kEmptyLayer =
    "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef";

std::string Joined(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "" : " ") + word;
  return out;
}

Result<std::optional<NewLayer>> DiffOf(Engine& engine, const Lease& lease,
                                       const ContainerRecord& record) {
  client::Containerd& containerd = engine.containerd();
  const std::string& snapshotter = engine.options().snapshotter;
  auto right = TRY(containerd.SnapshotMounts(snapshotter, record.id));
  std::vector<client::Mount> left;
  Undo undo;
  if (!record.parent_snapshot.empty()) {
    std::string key = fmt::format("{}-parent", lease.id());
    left = TRY(
        containerd.ViewSnapshot(snapshotter, key, record.parent_snapshot,
                                {{"containerd.io/gc.root", FormatRfc3339Nano(WallClock::now())}}));
    undo.Push([&containerd, snapshotter, key] {
      Result<> removed = containerd.RemoveSnapshot(snapshotter, key);
      if (!removed.ok()) log::Warning("removing snapshot {}: {}", key, removed.error().message());
    });
  }
  client::Descriptor blob =
      TRY_WITH(containerd.DiffMounts(lease.id(), left, right, std::string(oci::kOciLayerGzip)),
               "comparing the container with its image");
  client::Blob info = TRY(containerd.GetBlob(blob.digest));
  std::string diff_id = info.labels["containerd.io/uncompressed"];
  if (diff_id.empty())
    return Internal("the layer {} does not say what it is unpacked", blob.digest);
  if (diff_id == kEmptyLayer) return std::optional<NewLayer>();
  return std::optional<NewLayer>(NewLayer{std::move(blob), std::move(diff_id)});
}

}  // namespace

Result<std::string> CommitContainer(Engine& engine, CommitRequest request) {
  auto container = TRY(engine.Find(request.container));
  Container::RecordPointer record = TRY(container->RecordAfterStart());
  if (record->state.phase == Phase::kRemoving || record->state.phase == Phase::kDead) {
    bool dead = record->state.phase == Phase::kDead;
    return MakeError(ErrorKind::kAborted, "You cannot commit container {} which is {}", record->id,
                     dead ? "Dead" : "being removed");
  }
  NewImage image;
  image.name = TRY(NewImageName(request.repository, request.tag));
  ContainerConfig config = request.config.value_or(record->config);
  TRY(ApplyChanges(request.changes, &config));
  if (request.config) TRY(MergeImageConfig(ToJson(record->config), &config));
  // By its id: a name may mean another image by now.
  NamedImage parent = TRY(engine.images().Resolve(record->image_id));
  image.parent = parent.documents.get();
  image.config = ToJson(config);
  image.author = request.author;
  image.comment = request.comment;
  image.created_by = Joined(record->config.cmd.words);

  Undo resume;
  if (request.pause && record->state.phase == Phase::kRunning) {
    TRY(engine.Pause(record->id));
    resume.Push([&engine, id = record->id] {
      Result<> resumed = engine.Unpause(id);
      if (!resumed.ok()) log::Failure("container {}: {}", id, resumed.error().message());
    });
  }
  Lease lease = TRY(Lease::Take(engine.containerd()));
  image.layer = TRY(DiffOf(engine, lease, *record));
  resume.Run();
  std::string id = TRY(MakeImage(engine, lease, image));
  engine.Publish("commit", *record, {{"comment", request.comment}, {"imageID", id}});
  return id;
}

}  // namespace gantry::engine
