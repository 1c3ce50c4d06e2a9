// SPDX-License-Identifier: Apache-2.0
//
// The mounts of one RUN: what was asked for, and what is made of it for the time of its container.
// Sources are resolved by the kernel below the root that they are in, with links followed inside of
// it. One thread.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/undo.h"
#include "base/unique_fd.h"
#include "build/cache.h"
#include "dockerfile/run_mount.h"
#include "engine/new_image.h"
#include "engine/step_inputs.h"

namespace gantry::build {

// The files that a mount's "from" names.
struct SourceTree {
  BorrowedFd root;
  std::string chain_id;  // of an image's or stage's files
  std::string path;      // of a directory of this build
};

struct PlannedMount {
  dockerfile::RunMount mount;
  std::string target;   // absolute; "": a secret that is only a variable
  SourceTree tree;      // bind; cache that is filled
  std::string content;  // what of it makes the step another one
};

// As a part of the step's key.
std::string KeyOf(const PlannedMount& planned);

// Lives as long as the step's container.
struct StepMounts {
  std::shared_ptr<engine::StepInputs> inputs = std::make_shared<engine::StepInputs>();
  std::vector<Cache::MountUse> caches;
  std::vector<std::shared_ptr<void>> agents;
  std::vector<engine::Lease> leases;
  Undo snapshots;  // removed before their leases end
};

// A file in memory with that content, read only, for a secret.
Result<engine::StepMount> MakeSecretMount(const PlannedMount& planned, const std::string& content);
// A program in memory, for a here-document that names its interpreter.
Result<engine::StepMount> MakeScriptMount(const std::string& target, const std::string& content);
Result<engine::StepMount> MakeTmpfsMount(const PlannedMount& planned);
// A socket in `directory`, which nobody else uses, and who listens on it.
Result<std::pair<engine::StepMount, UniqueFd>> MakeAgentMount(const PlannedMount& planned,
                                                              BorrowedFd directory);

// What a container's mounts leave in its files: the runtime makes missing targets.
class TargetStubs {
 public:
  // `root`: the files before the step; invalid for none.
  static Result<TargetStubs> Note(BorrowedFd root, const std::vector<PlannedMount>& mounts);
  bool empty() const { return stubs_.empty(); }
  // Removes from the files after the step what is still an empty stub.
  Result<> Remove(BorrowedFd root) const;

 private:
  struct Stub {
    std::string parent;  // of the first that was missing; without a "/" in front, as all here
    std::optional<std::pair<timespec, timespec>> times;  // of the parent
    std::vector<std::string> paths;  // those that were missing, the outermost first
  };
  std::vector<Stub> stubs_;
};

}  // namespace gantry::build
