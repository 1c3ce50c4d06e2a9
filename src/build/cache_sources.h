// SPDX-License-Identifier: Apache-2.0
//
// `--cache-from` of the classic builder: with it steps are taken from the history of these images,
// pulled ones too, and from no other cache. Pure; one thread at a time.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "build/stage_state.h"
#include "engine/image_index.h"
#include "engine/new_image.h"

namespace gantry::build {

class CacheSources {
 public:
  struct Step {
    std::string created;
    std::optional<engine::NewLayer> layer;  // nothing: no file changed
  };

  void Add(engine::NamedImage image) { images_.push_back(std::move(image)); }
  // What came of `created_by` in an image that has the same steps and layers before it. The
  // words of a step that copies files name their content.
  std::optional<Step> Find(const StageState& state, const std::string& created_by) const;

 private:
  std::vector<engine::NamedImage> images_;
};

}  // namespace gantry::build
