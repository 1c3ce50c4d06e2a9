// SPDX-License-Identifier: Apache-2.0
#include "build/finish.h"

#include "build/squash.h"
#include "engine/images.h"
#include "engine/new_image.h"

namespace gantry::build {
namespace {

void Publish(engine::Engine& engine, std::string_view action, const std::string& id,
             const std::string& name) {
  engine::Event event;
  event.type = "image";
  event.action = action;
  event.actor_id = id;
  event.attributes["name"] = name;
  event.time = WallClock::now();
  engine.Publish(std::move(event));
}

}  // namespace

Result<std::string> StoreResult(engine::Engine& engine, StageState state,
                                const std::vector<std::string>& names, bool squash) {
  std::string id = state.image_id;
  if (!state.changed) {
    if (!state.base) return InvalidArgument("No image was generated. Is your Dockerfile empty?");
    for (const std::string& name : names) {
      client::Image image = state.base->image;
      image.name = name;
      TRY(engine.containerd().PutImage(image));
    }
  } else {
    engine::Lease lease = TRY(engine::Lease::Take(engine.containerd()));
    if (squash) state = TRY(Squash(engine, lease, std::move(state)));
    engine::ImageParts parts;
    parts.config = DocumentOf(state);
    parts.layers = state.layers;
    parts.chain_id = state.chain_id;
    parts.names = names;
    id = TRY(engine::StoreImage(engine, lease, parts));
  }
  Publish(engine, "create", id, id);
  for (const std::string& name : names) Publish(engine, "tag", id, engine::FamiliarName(name));
  return id;
}

}  // namespace gantry::build
