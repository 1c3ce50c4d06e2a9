// SPDX-License-Identifier: Apache-2.0
//
// A result that was made and has no name in the store yet: the builder holds its layers.
#pragma once

#include <memory>

#include "build/builder.h"

namespace gantry::buildkit {

struct Made {
  build::BuildOutput output;  // the builder refers to it
  std::unique_ptr<build::Builder> builder;
};

}  // namespace gantry::buildkit
