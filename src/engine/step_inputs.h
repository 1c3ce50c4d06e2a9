// SPDX-License-Identifier: Apache-2.0
//
// What a step of a build gets beside its configuration: mounts and variables that are in no record,
// since they end with the step, and since some of them are secrets. Plain data; any thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/unique_fd.h"

namespace gantry::engine {

struct StepMount {
  std::string destination;           // absolute
  UniqueFd tree;                     // a detached mount that `part` is in; invalid: the host's own
  UniqueFd part;                     // the file or directory that the step sees
  std::vector<std::string> options;  // "ro", "nosuid", … of the step's own mount
  bool maps_ids = true;              // its ids are a container's: mapped where users are
};

struct StepInputs {
  std::vector<StepMount> mounts;
  std::vector<std::string> env;  // "name=value", over the configuration's
};

}  // namespace gantry::engine
