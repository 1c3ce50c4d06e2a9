// SPDX-License-Identifier: Apache-2.0
//
// POST /commit: an image from a container's writable layer.
#include <utility>

#include "base/log.h"
#include "base/text.h"
#include "base/undo.h"
#include "engine/image_changes.h"
#include "engine/image_instructions.h"
#include "engine/new_image.h"

namespace gantry::engine {
namespace {}  // namespace

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
  image.config = ImageConfig(config);
  image.author = request.author;
  image.comment = request.comment;
  image.created_by = Join(record->config.cmd.words, " ");

  Undo resume;
  if (request.pause && record->state.phase == Phase::kRunning) {
    Result<> paused = engine.Pause(record->id);
    if (paused.ok()) {
      resume.Push([&engine, id = record->id] {
        Result<> resumed = engine.Unpause(id);
        if (!resumed.ok()) log::Failure("container {}: {}", id, resumed.error().message());
      });
    } else {
      // It has just ended, or cannot be paused: as with docker its files are taken as they are.
      log::Info("container {}: committed without a pause: {}", record->id,
                paused.error().message());
    }
  }
  Lease lease = TRY(Lease::Take(engine.containerd()));
  image.layer = TRY_WITH(DiffSnapshot(engine, lease, record->id, record->parent_snapshot),
                         "comparing the container with its image");
  resume.Run();
  std::string id = TRY(MakeImage(engine, lease, image));
  engine.Publish("commit", *record, {{"comment", request.comment}, {"imageID", id}});
  return id;
}

}  // namespace gantry::engine
