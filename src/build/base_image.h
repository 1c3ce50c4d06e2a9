// SPDX-License-Identifier: Apache-2.0
//
// Images that builds are made of: those that are here, else pulled ones. Any thread; a call blocks.
#pragma once

#include <functional>
#include <string>

#include "base/error.h"
#include "base/stop_token.h"
#include "build/request.h"
#include "client/containerd.h"
#include "engine/engine.h"
#include "engine/image_index.h"

namespace gantry::build {

struct ImageWanted {
  std::string name;
  std::string platform;  // "os/arch", "" for the host's
  bool pulls = false;    // even if one is here
  // Of a pull, which begins with the call; may be empty.
  std::function<client::ProgressCallback()> progress;
  // Keeps it from being removed; false: it is too late.
  std::function<Result<bool>(const engine::NamedImage& image)> hold;
};
// kNotFound: also when it is removed as soon as it is there.
Result<engine::NamedImage> FindOrPullImage(engine::Engine& engine, const BuildRequest& request,
                                           const ImageWanted& wanted, const StopToken& stop);

}  // namespace gantry::build
