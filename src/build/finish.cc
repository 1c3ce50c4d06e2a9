// SPDX-License-Identifier: Apache-2.0
#include "build/finish.h"

#include "build/squash.h"
#include "engine/images.h"

namespace gantry::build {

Result<std::string> StoreResult(engine::Engine& engine, StageState state, const StoreAs& as,
                                bool squash) {
  const std::vector<std::string>& names = as.names;
  std::string id = state.image_id;
  formats::Json document = state.document;
  if (!state.changed && as.annotations.empty()) {
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
    document = DocumentOf(state);
    parts.config = document;
    parts.layers = state.layers;
    parts.chain_id = state.chain_id;
    parts.names = names;
    parts.annotations = as.annotations;
    id = TRY(engine::StoreImage(engine, lease, parts));
  }
  engine.Publish(engine::ImageEvent("create", id, id, document));
  for (const std::string& name : names) {
    engine.Publish(engine::ImageEvent("tag", id, engine::FamiliarName(name), document));
  }
  return id;
}

}  // namespace gantry::build
